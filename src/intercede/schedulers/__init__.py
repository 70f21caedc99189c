"""The built-in schedulers, one module each.

No module imports them: the registry loads each scheduler by its entry point.
"""
