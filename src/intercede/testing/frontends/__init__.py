"""How a run is asked for: pytest, the command line, a program."""
