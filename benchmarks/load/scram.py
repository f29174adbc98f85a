"""The client's half of SCRAM-SHA-1 (RFC 5802), with the slow key derivation remembered per salt."""

import base64
import hashlib
import hmac
import re
import secrets

_FIELDS = re.compile(rb"(?:^|,)([a-z])=([^,]*)")
_keys: dict[tuple[bytes, bytes, int], tuple[bytes, bytes, bytes]] = {}


def _derive(password: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes, bytes]:
    """(client key, stored key, server key); PBKDF2 runs once for each password and salt."""
    known = _keys.get((password, salt, iterations))
    if known is None:
        salted = hashlib.pbkdf2_hmac("sha1", password, salt, iterations)
        client = hmac.digest(salted, b"Client Key", "sha1")
        known = (client, hashlib.sha1(client).digest(), hmac.digest(salted, b"Server Key", "sha1"))
        _keys[password, salt, iterations] = known
    return known


class Scram:
    """One authentication exchange; all messages are base64, as SASL in XMPP wants them."""

    __slots__ = ("_bare", "_password", "_signature")

    def __init__(self, user: str, password: str) -> None:
        self._bare = f"n={user},r={secrets.token_hex(12)}".encode()
        self._password = password.encode()
        self._signature = b""

    def first(self) -> bytes:
        """The client's first message."""
        return base64.b64encode(b"n,," + self._bare)

    def final(self, challenge: bytes) -> bytes:
        """The client's final message for the server's challenge."""
        text = base64.b64decode(challenge)
        fields = dict(_FIELDS.findall(text))
        salt, rounds = base64.b64decode(fields[b"s"]), int(fields[b"i"])
        client, stored, server = _derive(self._password, salt, rounds)
        without = b"c=biws,r=" + fields[b"r"]
        said = b",".join((self._bare, text, without))
        mask = hmac.digest(stored, said, "sha1")
        proof = bytes(a ^ b for a, b in zip(client, mask, strict=True))
        self._signature = hmac.digest(server, said, "sha1")
        return base64.b64encode(without + b",p=" + base64.b64encode(proof))

    def verify(self, success: bytes) -> bool:
        """Whether the server's final message proves that it knows the key."""
        return base64.b64decode(success) == b"v=" + base64.b64encode(self._signature)
