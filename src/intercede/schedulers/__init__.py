"""Ways to queue work, one module each. The registry opens them through entry points; nothing imports them."""
