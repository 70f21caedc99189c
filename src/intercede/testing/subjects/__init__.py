"""Subjects of an inspection: how it is named, found, made, entered, and asked in another process."""
