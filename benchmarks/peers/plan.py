"""Who is measured with how many jobs, how far away: what the figures come from, and what is left out and why."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PEERS", "PLAN", "QUICK", "PeerOf", "Run", "reason_for"]


@dataclass(frozen=True)
class PeerOf:
    """One way to run jobs, and the program that knows it."""

    program: str
    reach: str
    """Where it runs: here, over ssh; or there, on the login node, which spares it the way."""
    environment: str = "peers"
    argument: tuple[str, ...] = ()


PEERS = {
    "by hand, over ssh": PeerOf("floor", "ssh", argument=("ssh",)),
    "intercede, over ssh": PeerOf("intercede_", "ssh", argument=("ssh",)),
    "AiiDA's plugins, over ssh": PeerOf("aiida_", "ssh", environment="aiida"),
    "by hand, there": PeerOf("floor", "there", argument=("local",)),
    "intercede, there": PeerOf("intercede_", "there", argument=("local",)),
    "submitit, there": PeerOf("submitit_", "there"),
    "PSI/J, there": PeerOf("psij_", "there"),
    "Parsl's provider, there": PeerOf("parsl_", "there"),
}


@dataclass(frozen=True)
class Run:
    """One process: a peer, a number of jobs, a round trip in milliseconds."""

    peer: str
    copies: int
    rtt: int = 0
    scenes: Sequence[str] = ("quick", "long")


_BULK = ("by hand, over ssh", "intercede, over ssh", "by hand, there", "intercede, there")

PLAN: Sequence[Run] = (
    *(Run(peer, copies) for copies in (1, 100, 1000) for peer in PEERS),
    *(Run(peer, 5000) for peer in _BULK),
    *(Run(peer, 10000, scenes=("long",)) for peer in _BULK[:2]),
    *(Run(peer, copies, rtt) for rtt in (20, 100) for copies in (1, 1000) for peer in _BULK[:2]),
    *(Run("AiiDA's plugins, over ssh", copies, rtt) for rtt in (20, 100) for copies in (1, 100)),
)
QUICK: Sequence[Run] = (
    *(Run(peer, copies) for copies in (1, 20) for peer in PEERS),
    *(Run(peer, 20, 100) for peer, how in PEERS.items() if how.reach == "ssh"),
)

_REASONS = {
    ("submitit, there", 5000): "not run: an array beyond MaxArraySize, which it does not cut up",
    ("AiiDA's plugins, over ssh", 5000): "",
    ("PSI/J, there", 5000): "",
    ("Parsl's provider, there", 5000): "",
}


def reason_for(peer: str, copies: int, rtt: int) -> str:
    """Tell why the plan leaves something out."""
    return _REASONS.get((peer, copies), "") if not rtt else ""
