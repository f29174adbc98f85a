"""What is stored instead of a password: salted SCRAM keys, one set per hash (RFC 5802 section 3, RFC 7677).

Making all three sets costs about 10 ms of CPU at 10,000 iterations (2.4 for SHA-1 and SHA-256 each, 5.7 for
SHA-512). `makeSecrets` is a pure function and lets go of the interpreter lock, so call it in threads, and in
many at once for an import of thousands of accounts.
"""

from __future__ import annotations

import base64
import secrets as _random
from collections.abc import Callable, Iterable, Mapping

from xmppservice.protocol.jid import prepareResource
from xmppservice.protocol.sasl.credentials import SCRAM_HASHES, ScramKeys, deriveKeys

#: Iterations of every new secret, and of the made-up secrets of users who do not exist.
ITERATIONS = 10_000
SALT_SIZE = 16
_FORMAT = "1"


class BadPassword(ValueError):
    """The password is empty, too long, or has characters that OpaqueString forbids (RFC 8265 section 4)."""


def preparePassword(password: str) -> bytes:
    """Return the OpaqueString form in UTF-8 (RFC 8265 section 4.2.2); raises BadPassword."""
    if not password:
        raise BadPassword("the password is empty")
    try:
        # A resourcepart is an OpaqueString that must not begin with a space; a password may. The mark in
        # front composes with nothing, so it changes nothing else.
        return prepareResource("!" + password)[1:].encode("utf-8")
    except ValueError as error:
        raise BadPassword("the password is too long or has characters that are not allowed") from error


class HashSecrets:
    """Salt, iteration count and keys for one hash."""

    __slots__ = ("iterations", "keys", "salt")

    def __init__(self, salt: bytes, iterations: int, keys: ScramKeys) -> None:
        self.salt = salt
        self.iterations = iterations
        self.keys = keys


class StoredSecrets:
    """All secrets of one account, by SCRAM mechanism name without -PLUS."""

    __slots__ = ("hashes",)

    def __init__(self, hashes: Mapping[str, HashSecrets]) -> None:
        self.hashes = dict(hashes)

    def encode(self) -> bytes:
        """Return the form to store: a format number, then a line per hash."""
        lines = [_FORMAT]
        for name, entry in self.hashes.items():
            fields = map(_text, (entry.salt, entry.keys.storedKey, entry.keys.serverKey))
            lines.append(" ".join((name, str(entry.iterations), *fields)))
        return "\n".join(lines).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> StoredSecrets:
        """Read what `encode` wrote; raises ValueError for anything else."""
        version, *lines = data.decode("ascii").split("\n")
        if version != _FORMAT:
            raise ValueError("stored secrets of an unknown format")
        hashes = {}
        for line in lines:
            name, iterations, salt, stored, server = line.split(" ")
            keys = ScramKeys(_octets(stored), _octets(server))
            hashes[name] = HashSecrets(_octets(salt), int(iterations), keys)
        return cls(hashes)


def makeSecrets(
    password: str,
    iterations: int = ITERATIONS,
    mechanisms: Iterable[str] = tuple(SCRAM_HASHES),
    makeSalt: Callable[[int], bytes] = _random.token_bytes,
) -> StoredSecrets:
    """Derive the secrets of a new password, with a salt of its own for each hash; raises BadPassword."""
    prepared = preparePassword(password)
    hashes = {}
    for mechanism in mechanisms:
        salt = makeSalt(SALT_SIZE)
        hashes[mechanism] = HashSecrets(salt, iterations, deriveKeys(mechanism, prepared, salt, iterations))
    return StoredSecrets(hashes)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _octets(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
