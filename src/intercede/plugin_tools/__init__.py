"""Functions and classes for authors of plugins. The built-in plugins use them as any other plugin does.

``options`` is for every plugin, ``scheduler`` and ``transport`` are for one role each. A plugin may use none of
these modules: the contract does not require them.
"""
