"""Schedulers, one module each. The registry loads them through entry points, so no module imports them."""
