"""The client's half of SCRAM (RFC 5802), for tests: written from the RFC, sharing no code with the server."""

from __future__ import annotations

import base64
import hashlib
import hmac


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


class ScramClient:
    """One exchange: `first`, then `final` with the server's challenge, then `check` with its last word."""

    def __init__(
        self,
        user: str,
        password: str,
        digest: str = "sha1",
        nonce: str = "fyko+d2lbbFgONRv9qkxdawL",
        authzid: str = "",
        flag: str = "n",
        binding: bytes = b"",
    ) -> None:
        self.user, self.password, self.digest, self.nonce = user, password, digest, nonce
        self.gs2 = f"{flag},{'a=' + self.quote(authzid) if authzid else ''},"
        self.binding = binding
        self.extensions = ""
        self.serverSignature = b""

    @staticmethod
    def quote(name: str) -> str:
        """Write a saslname."""
        return name.replace("=", "=3D").replace(",", "=2C")

    def first(self) -> bytes:
        """Return the client-first-message."""
        self.bare = f"n={self.quote(self.user)},r={self.nonce}{self.extensions}"
        return (self.gs2 + self.bare).encode()

    def final(self, challenge: bytes) -> bytes:
        """Return the client-final-message."""
        text = challenge.decode()
        fields = dict(part.split("=", 1) for part in text.split(","))
        assert fields["r"].startswith(self.nonce)
        assert len(fields["r"]) > len(self.nonce)
        salted = hashlib.pbkdf2_hmac(
            self.digest, self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        clientKey = hmac.digest(salted, b"Client Key", self.digest)
        storedKey = hashlib.new(self.digest, clientKey).digest()
        channel = base64.b64encode(self.gs2.encode() + self.binding).decode()
        withoutProof = f"c={channel},r={fields['r']}{self.extensions}"
        message = f"{self.bare},{text},{withoutProof}".encode()
        self.serverSignature = hmac.digest(hmac.digest(salted, b"Server Key", self.digest), message, self.digest)
        proof = _xor(clientKey, hmac.digest(storedKey, message, self.digest))
        return f"{withoutProof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, last: bytes | None) -> bool:
        """Say whether the server has proved that it knows the keys, too."""
        return last == b"v=" + base64.b64encode(self.serverSignature)
