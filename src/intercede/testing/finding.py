"""What a red check says: whose fault it is, and everything that an author needs to see it."""

import inspect
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydantic

from intercede.testing.bounded import TookTooLong
from intercede.testing.clauses import Clause
from intercede.testing.context import CheckFailed
from intercede.testing.journal import Call, brief
from intercede.testing.verdict import State

__all__ = ["Finding", "finding_of", "red_text"]

_KIT = str(Path(__file__).parent)
_GALLERY = str(Path(_KIT, "gallery"))
_FRAME = (str(Path(_KIT, "bounded.py")), str(Path(_KIT, "context.py")))
"""What stands between a check and its subject, and tells nobody anything."""
_STANDARD, _PYDANTIC = sysconfig.get_path("stdlib"), str(Path(pydantic.__file__).parent)
_SHOWN_CALLS = 40


@dataclass(frozen=True)
class Finding:
    """Why a check is red."""

    state: State
    """FAILED, or ERROR where the check itself broke."""
    expected: str
    observed: str

    @property
    def message(self) -> str:
        """Both in one line."""
        return brief(f"expected {self.expected}; observed {self.observed.partition(chr(10))[0]}")


def finding_of(clause: Clause, raised: BaseException | None) -> Finding | None:
    """Tell what it means that the check of a clause raised this; None: nothing, it is green."""
    if raised is None:
        return None
    if isinstance(raised, CheckFailed):
        return Finding(State.FAILED, raised.expected, raised.observed)
    if isinstance(raised, TookTooLong):
        return Finding(State.FAILED, "the check to end in time", str(raised))
    frames = [each for each in traceback.extract_tb(raised.__traceback__) if not each.filename.startswith(_FRAME)]
    told = brief("".join(traceback.format_exception_only(raised)))
    observed = f"raised {told}\n{''.join(traceback.format_list(frames))}".rstrip()
    if _is_ours(clause, frames):
        return Finding(State.ERROR, "the check to work; this is the kit's own fault, please report it", observed)
    return Finding(State.FAILED, "no exception", observed)


def _is_ours(clause: Clause, frames: Iterable[traceback.FrameSummary]) -> bool:
    """Whether no frame of the subject's lies between the check and what was raised."""
    check = inspect.getsourcefile(clause.check), clause.check.__name__
    return all(
        (each.filename, each.name) == check or _is_the_kits(each.filename) or _is_nobodys(each.filename)
        for each in frames
    )


def _is_the_kits(file: str) -> bool:
    return file.startswith(_KIT) and not file.startswith(_GALLERY)


def _is_nobodys(file: str) -> bool:
    # Site-packages may lie below the standard library.
    return file.startswith(_PYDANTIC) or (file.startswith(_STANDARD) and "site-packages" not in file)


def red_text(
    clause: Clause,
    finding: Finding,
    *,
    journal: Sequence[Call] = (),
    outputs: str = "",
    left: str = "",
    again: str = "",
) -> str:
    """Write everything there is to say about a red check."""
    parts = [
        f"{clause.id} ({clause.level}): {clause.title}",
        f"expected: {finding.expected}",
        f"observed: {finding.observed}",
        f"the calls it made:\n{_calls(journal)}" if journal else "",
        outputs,
        left,
        f"look at: {clause.look_at}" if clause.look_at else "",
        f"again: {again}" if again else "",
    ]
    return "\n".join(part for part in parts if part)


def _calls(journal: Sequence[Call]) -> str:
    skipped = len(journal) - _SHOWN_CALLS
    earlier = [f"  ... {skipped} earlier ones"] if skipped > 0 else []
    return "\n".join(earlier + [f"  {call}" for call in journal[-_SHOWN_CALLS:]])
