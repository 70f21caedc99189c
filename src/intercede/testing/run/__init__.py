"""Run checks, one at a time or many at once: their contexts, the clean-up after them, and the findings."""
