"""What keeps the kit going beside any subject: timeouts, guards of the process, files."""
