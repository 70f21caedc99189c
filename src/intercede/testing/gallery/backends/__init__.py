"""Wrong, hostile and right backends, in one file for each area of the contract."""
