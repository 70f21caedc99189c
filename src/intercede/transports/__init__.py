"""The built-in transports, one module each. The registry loads each by its entry point, so no module imports it."""
