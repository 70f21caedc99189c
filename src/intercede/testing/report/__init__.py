"""The files of a run: JSON for programs, a page and a summary for people, and a badge.

``as_json`` makes plain data of a report, and all other files are made from that data. So they cannot contradict the
JSON.
"""

from intercede.testing.report.document import as_json
from intercede.testing.report.files import prepare, write
from intercede.testing.report.properties import properties
from intercede.testing.report.run import Run
from intercede.testing.report.words import explain_clause, list_clauses

__all__ = ["Run", "as_json", "explain_clause", "list_clauses", "prepare", "properties", "write"]
