"""One run: what a check is given, checks one by one and together, what they leave, and what went wrong."""
