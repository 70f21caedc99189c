"""Wrong, hostile and right schedulers, in one file for each kind of mistake."""
