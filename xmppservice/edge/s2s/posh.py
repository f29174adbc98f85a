"""Certificates that a domain's web server vouches for: PKIX over Secure HTTP, POSH (RFC 7711).

``https://<domain>/.well-known/posh/xmpp-server.json`` has fingerprints, or leads to a document that has them.
Answers are kept as long as they say, for a day at most; that there is none for a few minutes.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

import attrs
from cryptography import x509
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from xmppservice.edge.certificates import MALFORMED
from xmppservice.edge.s2s.targets import isAddress
from xmppservice.edge.s2s.web import NotFetched
from xmppservice.edge.tls import PeerCertificate
from xmppservice.protocol.jid import asciiDomain
from xmppservice.protocol.stream.s2s import Verdict

log = Logger()

MAX_KEPT: Final = 500
MAX_FINGERPRINTS: Final = 32
MAX_FETCHES: Final = 32
"""Fetches at the same time: anybody can call in the name of many domains."""
LONGEST, FAILURE = 86400, 300
_HASHES: Final = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}

Fingerprint = tuple[tuple[str, bytes], ...]
"""The hashes of one certificate, with their names."""


class Useless(Exception):
    """A document that is not as RFC 7711 has it; the text says what is wrong."""


@attrs.frozen
class Document:
    """A POSH document: fingerprints, or the address of those."""

    fingerprints: tuple[Fingerprint, ...]
    url: str
    expires: int

    def has(self, der: bytes) -> bool:
        """Whether one of the fingerprints is that of a certificate; all hashes of one that we know must be right."""
        return any(
            hashes and all(_HASHES[name](der).digest() == digest for name, digest in hashes)
            for hashes in self.fingerprints
        )


def readDocument(data: bytes) -> Document:
    """Read a document; raises `Useless`."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise Useless("the POSH document is not JSON") from None
    if not isinstance(found, dict):
        raise Useless("the POSH document is not an object")
    expires, url, fingerprints = found.get("expires"), found.get("url"), found.get("fingerprints")
    if type(expires) is not int or expires < 0:
        raise Useless("the POSH document does not say when it expires")
    if expires == 0:
        raise Useless("the POSH document has expired")
    if "url" in found:
        if "fingerprints" in found or not isinstance(url, str):
            raise Useless("the POSH document has a useless reference")
        return Document((), url, min(expires, LONGEST))
    if not isinstance(fingerprints, list):
        raise Useless("the POSH document has no fingerprints")
    return Document(tuple(map(_readFingerprint, fingerprints[:MAX_FINGERPRINTS])), "", min(expires, LONGEST))


def _readFingerprint(found: Any) -> Fingerprint:
    """The hashes that we know; none if it is not a fingerprint at all."""
    if not isinstance(found, dict):
        return ()
    hashes = []
    for name in _HASHES.keys() & found.keys():
        text = found[name]
        try:
            # The RFC's own examples leave out the padding at times.
            digest = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (TypeError, ValueError, binascii.Error):
            return ()
        hashes.append((name, digest))
    return tuple(hashes)


class POSH:
    """Judges by what web servers say. `fetch` is that of a `Fetcher`, `seconds` a clock."""

    def __init__(self, fetch: Callable[[str], Deferred[bytes]], seconds: Callable[[], float]) -> None:
        self._fetch = fetch
        self._seconds = seconds
        # Domain → when it ends, and a document or why there is none; the oldest first.
        self._kept: dict[str, tuple[float, Document | str]] = {}
        self._waiting: dict[str, list[Deferred[Document | str]]] = {}

    def vouches(self, certificate: PeerCertificate, domain: str) -> Deferred[Verdict]:
        """Whether the web server of a prepared domain says that this is its certificate."""
        if isAddress(domain.strip("[]")):
            return succeed(Verdict(False, reason="an address has no POSH"))
        return self._find(domain).addCallback(lambda found: _compare(found, certificate.der))

    def _find(self, domain: str) -> Deferred[Document | str]:
        ends, found = self._kept.get(domain, (0.0, ""))
        if ends > self._seconds():
            return succeed(found)
        waiting = self._waiting.get(domain)
        if waiting is None:
            if len(self._waiting) >= MAX_FETCHES:
                return succeed("too many POSH documents are being fetched")
            waiting = self._waiting[domain] = []
            mine: Deferred[Document | str] = Deferred()
            waiting.append(mine)
            Deferred.fromCoroutine(self._load(domain)).addErrback(_asReason).addCallback(self._loaded, domain)
            return mine
        another: Deferred[Document | str] = Deferred()
        waiting.append(another)
        return another

    async def _load(self, domain: str) -> Document | str:
        first = readDocument(await self._fetch(f"https://{asciiDomain(domain)}/.well-known/posh/xmpp-server.json"))
        if not first.url:
            return first
        second = readDocument(await self._fetch(first.url))
        if second.url:
            raise Useless("the POSH document leads on too often")  # RFC 7711 3.2
        return attrs.evolve(second, expires=min(first.expires, second.expires))  # section 6

    def _loaded(self, found: Document | str, domain: str) -> None:
        lifetime = found.expires if isinstance(found, Document) else FAILURE
        self._kept.pop(domain, None)
        self._kept[domain] = self._seconds() + lifetime, found
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        for waiter in self._waiting.pop(domain):
            waiter.callback(found)


def _asReason(failure: Failure) -> str:
    if failure.check(Useless, NotFetched):
        return failure.getErrorMessage()
    # Ours to mend; those who wait must not wait for ever.
    log.failure("a POSH document could not be judged", failure=failure)
    return "it could not be judged"


def _compare(found: Document | str, der: bytes) -> Verdict:
    if isinstance(found, str):
        return Verdict(False, reason=f"no POSH: {found}")
    if not found.has(der):
        return Verdict(False, reason="POSH has other certificates")
    if not _inForce(der):
        return Verdict(False, reason="POSH has this certificate, but it is not in force")  # RFC 7711 6
    return Verdict(True, "posh")


def _inForce(der: bytes) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(der)
        now = datetime.datetime.now(datetime.UTC)
        return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    except MALFORMED:
        return False
