"""Helpers for checks of several roles: payloads, child programs, the processes of this machine."""
