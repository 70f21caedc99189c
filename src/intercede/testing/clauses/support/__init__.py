"""Helpers for checks: payloads, programs for child processes, and functions that several modules of checks share."""
