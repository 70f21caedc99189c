"""Helpers for checks: payloads, programs for child processes, and what several areas ask for."""
