"""The remote side: send scripts to it, define the functions that they may call, and read their answers."""
