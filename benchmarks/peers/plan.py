"""The plan of the measurements: which libraries, with how many jobs, at which distance."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PEERS", "PLAN", "QUICK", "PeerOf", "Run"]


@dataclass(frozen=True)
class PeerOf:
    """One way to run jobs, and its program."""

    program: str
    """The module of the program, below this package."""
    place: str
    """Its place: ``ssh``, or ``there`` on the login node itself, which needs no ssh."""
    environment: str = "peers"
    argument: tuple[str, ...] = ()


PEERS = {
    "by hand, over ssh": PeerOf("runs.by_hand", "ssh", argument=("ssh",)),
    "intercede, over ssh": PeerOf("runs.ours", "ssh", argument=("ssh",)),
    "AiiDA's plugins, over ssh": PeerOf("others.aiida", "ssh", environment="aiida"),
    "by hand, local": PeerOf("runs.by_hand", "there", argument=("local",)),
    "intercede, local": PeerOf("runs.ours", "there", argument=("local",)),
    "submitit, local": PeerOf("others.submitit", "there"),
    "PSI/J, local": PeerOf("others.psij", "there"),
    "Parsl's provider, local": PeerOf("others.parsl", "there"),
}


@dataclass(frozen=True)
class Run:
    """One process: a peer, a number of jobs, a round trip in milliseconds."""

    peer: str
    copies: int
    rtt: int = 0
    scenes: Sequence[str] = ("quick", "long")


_OVER_SSH = [peer for peer, how in PEERS.items() if how.place == "ssh"]
_IN_BULK = ("by hand, over ssh", "intercede, over ssh", "by hand, local", "intercede, local", "submitit, local")

# A library that queues job by job gets at most a thousand jobs: more take minutes. Over the slow line, AiiDA's plugins
# get a hundred.
PLAN: Sequence[Run] = (
    *(Run(peer, copies) for copies in (1, 100, 1000) for peer in PEERS),
    *(Run(peer, 5000) for peer in _IN_BULK[:2]),
    *(Run(peer, 5000, scenes=("long",)) for peer in _IN_BULK[2:]),
    *(Run(peer, 10000, scenes=("long",)) for peer in _IN_BULK[:2]),
    *(Run(peer, copies, rtt) for rtt in (20, 100) for copies in (1, 100) for peer in _OVER_SSH),
    *(Run(peer, 1000, rtt) for rtt in (20, 100) for peer in _OVER_SSH[:2]),
)
QUICK: Sequence[Run] = (
    *(Run(peer, copies) for copies in (1, 20) for peer in PEERS),
    *(Run(peer, 20, 100) for peer in _OVER_SSH),
)
