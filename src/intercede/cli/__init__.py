"""The command line. Its modules need the extra ``cli``; ``intercede.__main__`` loads them and says so where it is not."""
