"""Ways to reach a machine, one module each. The registry opens them through entry points; nothing imports them."""
