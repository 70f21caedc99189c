"""The remote side: send scripts to it, define the functions that scripts may call, and read the answers."""
