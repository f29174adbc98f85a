"""What the mechanisms hand to a portal: plain data and the arithmetic of a proof.

This row knows no zope.interface; `auth.credentials` declares which credentials interface each class provides.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TypeAlias

#: SCRAM mechanism name without -PLUS → name of its hash in hashlib.
SCRAM_HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


class ClientCertificate:
    """What the TLS layer learnt from the client's certificate.

    `addresses` are the id-on-xmppAddr names of its subjectAltName as they stand there (RFC 6120 13.7.1.4);
    `fingerprint` is the SHA-256 of its DER form; `trusted` says whether path validation succeeded.
    """

    __slots__ = ("addresses", "fingerprint", "trusted")

    def __init__(self, addresses: tuple[str, ...], fingerprint: bytes = b"", trusted: bool = False) -> None:
        self.addresses = addresses
        self.fingerprint = fingerprint
        self.trusted = trusted


class ScramKeys:
    """The two keys a server stores for one user and one hash (RFC 5802 section 3)."""

    __slots__ = ("serverKey", "storedKey")

    def __init__(self, storedKey: bytes, serverKey: bytes) -> None:
        self.storedKey = storedKey
        self.serverKey = serverKey


def deriveKeys(mechanism: str, password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """Compute the keys of a prepared UTF-8 password. Slow on purpose: call it in a thread."""
    digest = SCRAM_HASHES[mechanism]
    salted = hashlib.pbkdf2_hmac(digest, password, salt, iterations)
    clientKey = hmac.digest(salted, b"Client Key", digest)
    return ScramKeys(hashlib.new(digest, clientKey).digest(), hmac.digest(salted, b"Server Key", digest))


class ScramCredentials:
    """A SCRAM proof with all that is needed to judge it, except the stored keys.

    `local` is the prepared localpart, `mechanism` the name without -PLUS. After a proof that held,
    `serverSignature` carries what the client waits for; before that it is None.
    """

    __slots__ = ("authMessage", "local", "mechanism", "proof", "serverSignature")

    def __init__(self, local: str, mechanism: str, authMessage: bytes, proof: bytes) -> None:
        self.local = local
        self.mechanism = mechanism
        self.authMessage = authMessage
        self.proof = proof
        self.serverSignature: bytes | None = None

    def verify(self, keys: ScramKeys) -> bool:
        """Say whether the proof was made with the password behind `keys` (RFC 5802 section 3)."""
        digest = SCRAM_HASHES[self.mechanism]
        signature = hmac.digest(keys.storedKey, self.authMessage, digest)
        size = max(len(signature), len(self.proof))
        mixed = int.from_bytes(signature, "big") ^ int.from_bytes(self.proof, "big")
        clientKey = mixed.to_bytes(size, "big")
        if not hmac.compare_digest(hashlib.new(digest, clientKey).digest(), keys.storedKey):
            return False
        self.serverSignature = hmac.digest(keys.serverKey, self.authMessage, digest)
        return True


class PlainCredentials:
    """User name and password as bytes, in the shape of Twisted's IUsernamePassword.

    `username` is the prepared localpart in UTF-8, `password` what the client sent, unprepared.
    """

    __slots__ = ("password", "username")

    def __init__(self, username: bytes, password: bytes) -> None:
        self.username = username
        self.password = password

    def checkPassword(self, password: bytes) -> bool:
        """Compare with a password kept in the clear, as stock Twisted checkers do."""
        return hmac.compare_digest(self.password, password)


class CertificateCredentials:
    """The claim to be `local` by right of a certificate that names this address."""

    __slots__ = ("certificate", "local")

    def __init__(self, local: str, certificate: ClientCertificate) -> None:
        self.local = local
        self.certificate = certificate


class AnonymousCredentials:
    """No claim at all; `trace` is what the client said of itself, for logs only (RFC 4505)."""

    __slots__ = ("trace",)

    def __init__(self, trace: str) -> None:
        self.trace = trace


SASLCredentials: TypeAlias = ScramCredentials | PlainCredentials | CertificateCredentials | AnonymousCredentials
