"""Certificates that the DNS vouches for: DANE (RFC 6698, RFC 7671) for targets of SRV records (RFC 7673).

It applies where a trusted resolver says that DNSSEC proves all of it: the target, its addresses and its TLSA records.
Of these records usage 3 is the server's own certificate or key, whatever else it says and however old it is; usage 2 is
an authority, under which the chain must be good and the certificate name the domain or the target. Usages 0
and 1 add conditions to PKIX, and are ignored, as RFC 7672 3.1.3 does for mail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from xmppservice.edge.certificates import MALFORMED
from xmppservice.edge.s2s.identity import identifies
from xmppservice.edge.s2s.questions import AAAA, TLSA, A, Answer, INames, LookupFailed
from xmppservice.edge.s2s.targets import Target, isAddress
from xmppservice.edge.s2s.trust import wrongName
from xmppservice.edge.tls import PeerCertificate, TrustStore
from xmppservice.protocol.stream.s2s import Verdict

_AUTHORITY, _SERVER = 2, 3
_CERTIFICATE, _KEY = 0, 1
_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}
_FULL = 0


@attrs.frozen
class Association:
    """A TLSA record that can be used."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def matches(self, der: bytes) -> bool:
        """Whether it is about this certificate."""
        selected = der if self.selector == _CERTIFICATE else _keyOf(der)
        if not selected:
            return False
        return self.data == (selected if self.matching == _FULL else _HASHES[self.matching](selected).digest())


def readAssociations(records: Iterable[bytes]) -> list[Association]:
    """Those TLSA records (RDATA, RFC 6698 2.1) that can be used."""
    found = []
    for record in records:
        if len(record) > 3 and record[0] in (_AUTHORITY, _SERVER) and record[1] in (_CERTIFICATE, _KEY):
            digest = _HASHES.get(record[2])
            if record[2] == _FULL or (digest is not None and len(record) == 3 + digest().digest_size):
                found.append(Association(record[0], record[1], record[2], record[3:]))
    return found


class DANE:
    """Judges by TLSA records."""

    def __init__(self, resolver: INames) -> None:
        self._resolver = resolver

    def judge(self, certificate: PeerCertificate, domain: str, target: Target) -> Deferred[Verdict | None]:
        """The verdict on what `target` has shown for `domain`; None if the DNS has nothing to say."""
        if isAddress(target.host):
            return _nothing()
        addresses = gatherResults([self._ask(target.host, kind) for kind in (AAAA, A)])
        name = f"_{target.port}._tcp.{target.host}"

        def withAddresses(answers: list[Answer | LookupFailed]) -> Deferred[Verdict | None]:
            # RFC 7673 3.2: without a proof for them there is none for what is below them.
            if not any(isinstance(answer, Answer) and answer.records and answer.secure for answer in answers):
                return _nothing()
            return self._ask(name, TLSA).addCallback(withRecords)

        def withRecords(answer: Answer | LookupFailed) -> Verdict | None:
            if isinstance(answer, LookupFailed):
                # RFC 7673 3.4: somebody may keep the records from us.
                return Verdict(False, reason=f"its TLSA records could not be looked up: {answer}")
            found = readAssociations(record.data for record in answer.records) if answer.secure else []
            return judgeAssociations(found, certificate, domain, target.host) if found else None

        return addresses.addCallback(withAddresses)

    def _ask(self, name: str, kind: int) -> Deferred[Answer | LookupFailed]:
        return self._resolver.ask(name, kind).addErrback(_asResult)


def judgeAssociations(
    associations: Iterable[Association], certificate: PeerCertificate, domain: str, host: str
) -> Verdict:
    """The verdict by usable records; one that matches is enough."""
    anchors: dict[bytes, None] = {}
    for association in associations:
        if association.usage == _SERVER:
            if association.matches(certificate.der):
                return Verdict(True, "dane")
        elif association.selector == _CERTIFICATE and association.matching == _FULL:
            anchors[association.data] = None
        else:
            # An authority that does not stand in the record must be shown (RFC 7671 5.2).
            anchors.update((der, None) for der in certificate.chain[1:] if association.matches(der))
    if not anchors:
        return Verdict(False, reason="no TLSA record is about its certificate")
    problem = TrustStore(anchors=tuple(anchors)).verify(certificate.chain)
    if not problem and not identifies(certificate.der, domain) and not identifies(certificate.der, host):
        problem = wrongName(certificate.der, domain)
    return Verdict(False, reason=problem) if problem else Verdict(True, "dane")


def _keyOf(der: bytes) -> bytes:
    try:
        key = x509.load_der_x509_certificate(der).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except MALFORMED:
        return b""


def _asResult(failure: Failure) -> LookupFailed:
    failure.trap(LookupFailed)
    assert isinstance(failure.value, LookupFailed)
    return failure.value


def _nothing() -> Deferred[Verdict | None]:
    done: Deferred[Verdict | None] = Deferred()
    done.callback(None)
    return done
