"""Helpers for checks: payloads, programs for child processes, and functions that several areas share."""
