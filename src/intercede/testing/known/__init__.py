"""Known failures: which clauses a subject is known not to keep, why, how that shows, and until when."""

from intercede.testing.known.file import Entry, Known, load
from intercede.testing.known.update import load_for_update, update_text, write

__all__ = ["Entry", "Known", "load", "load_for_update", "update_text", "write"]
