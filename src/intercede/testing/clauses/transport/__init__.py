"""The checks of the clauses about transports."""
