"""The built-in transports, one module each.

No module imports them: the registry loads each transport by its entry point.
"""
