"""The checks of the backend clauses, one file for a group such as IC-FIND. Importing a file registers its clauses."""
