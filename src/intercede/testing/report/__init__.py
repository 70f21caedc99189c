"""The output of a run: a verdict for programs, a page and a summary for people, a badge.

``as_json`` puts a report into plain data, and everything else is made of that data: what the page shows, the JSON says.
"""

from intercede.testing.report.document import as_json
from intercede.testing.report.files import prepare, write
from intercede.testing.report.properties import properties
from intercede.testing.report.run import Run
from intercede.testing.report.words import explain_clause, list_clauses

__all__ = ["Run", "as_json", "explain_clause", "list_clauses", "prepare", "properties", "write"]
