"""The checks of the backend clauses, a file an area. Importing a file registers its clauses."""
