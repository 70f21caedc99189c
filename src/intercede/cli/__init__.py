"""The command line. Its modules need the extra ``cli``; ``intercede.__main__`` reports a missing extra."""
