"""The checks of the backend clauses, one file per area. Importing a file registers its clauses."""
