"""The checks of the clauses about schedulers."""
