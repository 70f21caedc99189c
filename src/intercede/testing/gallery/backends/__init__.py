"""Wrong, hostile and right backends: a file for each area of the contract."""
