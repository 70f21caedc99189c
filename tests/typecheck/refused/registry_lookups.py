"""A consumer's mistakes with the registry: each marked line must be refused, and no other."""

from intercede import CredentialProvider, JobBackend, Transport, registry
from intercede.registry import Registry

backend: Transport = registry.backend("fake")  # refused: a backend is no transport
transport: JobBackend = registry.transport("local")  # refused: a transport is no backend
registry.backend(3)  # refused: neither a name nor a mapping
registry.backend({"type": "fake"}, credentials="password")  # refused: a secret is no provider
registry.prefer("transports", "ssh")  # refused: a pin names a distribution
Registry(configuration=3)  # refused: no configuration
if registry.resolve("transports", "ssh").status == "broken":  # refused: no such status
    pass


def hand_over(provider: CredentialProvider) -> None:
    """A scheduler is made of pure functions."""
    registry.scheduler("slurm", provider)  # refused: a scheduler takes no credentials
