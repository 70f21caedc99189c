"""BatchBackend: a backend that is made of a transport and a scheduler."""

from intercede.batch.backend import BatchBackend

__all__ = ["BatchBackend"]
