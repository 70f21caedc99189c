"""Protection of the kit from any subject: timeouts, guards of the process, files."""
