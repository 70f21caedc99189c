"""Host keys, and the lines of known_hosts files that hold them, for tests."""

import base64
import hashlib
import hmac

import asyncssh
from tests.transports.sshd import make_key

KEYS = [make_key() for _ in range(3)]


HOUR = 3600


def format_key(key: asyncssh.SSHKey) -> str:
    """Return the public key in the format of a known_hosts line, without a name."""
    return key.export_public_key().decode().strip()


def hash_name(name: str) -> str:
    """Hash a name as HashKnownHosts does."""
    salt = b"s" * 20
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
