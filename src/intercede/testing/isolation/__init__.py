"""Protection of the kit from the code that it checks: time limits, restored process state, careful file access."""
