"""Wrong, hostile and right transports, in one file for each area of the contract."""
