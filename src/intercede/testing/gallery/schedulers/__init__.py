"""Wrong, hostile and right schedulers: a file for each area of the contract."""
