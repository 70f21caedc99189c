"""A transport and a scheduler make a backend, in a constant number of round trips a verb."""

from intercede.batch.backend import BatchBackend

__all__ = ["BatchBackend"]
