"""Wrong, hostile and right transports: a file for each area of the contract."""
