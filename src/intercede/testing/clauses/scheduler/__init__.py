"""The checks of clauses about schedulers. Each module has a check and its probe."""
