"""Known failures: a file names clauses that a subject does not keep, with a reason, a symptom and a last day."""

from intercede.testing.known.file import Entry, Known, load
from intercede.testing.known.update import load_for_update, update_text, write

__all__ = ["Entry", "Known", "load", "load_for_update", "update_text", "write"]
