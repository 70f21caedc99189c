"""The inspector: does a backend keep the contract? ``pytest --intercede-backend=NAME`` asks it, and so may a program."""
