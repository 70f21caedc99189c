"""The files of a run: JSON for programs, a page and a summary for people, and a badge.

``make_document`` converts a report to plain data, and all files are made from that data. So the files cannot contradict
each other.
"""

from intercede.testing.report.clause_text import explain_clause, list_clauses
from intercede.testing.report.document import make_document
from intercede.testing.report.files import prepare_directory, write_reports
from intercede.testing.report.properties import list_properties
from intercede.testing.report.run import Run

__all__ = [
    "Run",
    "explain_clause",
    "list_clauses",
    "list_properties",
    "make_document",
    "prepare_directory",
    "write_reports",
]
