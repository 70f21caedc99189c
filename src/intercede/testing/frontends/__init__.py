"""The ways to start a run: pytest, the command line, and functions for programs."""
