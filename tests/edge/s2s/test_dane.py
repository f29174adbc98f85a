"""TLSA records that vouch for a server's certificate (RFC 6698, RFC 7671, RFC 7673)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from zope.interface import implementer

from tests.security.certificates import Authority, Identity, selfSigned
from xmppservice.edge.s2s.dane import DANE, readAssociations
from xmppservice.edge.s2s.questions import AAAA, TLSA, A, Answer, INames, LookupFailed
from xmppservice.edge.s2s.targets import Target
from xmppservice.edge.tls import PeerCertificate
from xmppservice.protocol.stream.s2s import Verdict

DOMAIN, HOST = "im.test", "xmpp.hosting.test"
TARGET = Target(HOST, 5270, secure=True)
ROOT = Authority("root", None)
DEPUTY = ROOT.deputy("deputy")
UNSAID = "no TLSA record is about its certificate"


@implementer(INames)
class Names:
    """Answers about one host."""

    def __init__(self, records: Sequence[bytes], secure: bool = True, addresses: bool = True) -> None:
        self.records, self.secure, self.addresses = records, secure, addresses
        self.lost: set[int] = set()
        self.asked: list[tuple[str, int]] = []

    def ask(self, name: str, kind: int) -> Deferred[Answer]:
        """At once."""
        self.asked.append((name, kind))
        if kind in self.lost:
            return fail(LookupFailed("timeout"))
        if kind == TLSA:
            return succeed(Answer(tuple(map(dns.UnknownRecord, self.records)), True, self.secure))
        return succeed(Answer((dns.Record_A("192.0.2.1"),) if kind == A else (), True, self.addresses))


def shown(*chain: Identity) -> PeerCertificate:
    """A certificate that nobody here trusts."""
    ders = tuple(identity.der for identity in chain)
    return PeerCertificate(ders[0], ders, "issued by an authority that is not trusted here")


def record(identity: Identity, usage: int, selector: int = 1, matching: int = 1) -> bytes:
    """A TLSA record about a certificate."""
    data = identity.der
    if selector == 1:
        key = identity.certificate.public_key()
        data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if matching:
        data = {1: hashlib.sha256, 2: hashlib.sha512}[matching](data).digest()
    return bytes((usage, selector, matching)) + data


def judge(names: Names, certificate: PeerCertificate, target: Target = TARGET) -> Verdict | None:
    """The verdict."""
    got: list[Verdict | None] = []
    DANE(names).judge(certificate, DOMAIN, target).addCallback(got.append)
    return got[0]


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_server(selector: int, matching: int) -> None:
    """Usage 3: the certificate or its key, in full or as a hash; nothing else of it counts (RFC 7671 5.1)."""
    own, other = ROOT.names("any.test", expired=True), selfSigned(DOMAIN)
    names = Names([record(other, 3), record(own, 3, selector, matching)])
    assert judge(names, shown(own)) == Verdict(True, "dane")
    assert (f"_5270._tcp.{HOST}", TLSA) in names.asked
    names.records = [record(own, 3, selector, matching)]
    assert judge(names, shown(other)) == Verdict(False, "", UNSAID)


@pytest.mark.parametrize("name", [DOMAIN, HOST])
@pytest.mark.parametrize("authority", [ROOT, DEPUTY])
def test_authority(authority: Authority, name: str) -> None:
    """Usage 2: the chain must be good up to the one named, for the domain or the target (RFC 7673 4, 6)."""
    chain = shown(DEPUTY.names(name), DEPUTY.own, ROOT.own)
    for selector in (0, 1):
        for matching in (0, 1, 2):
            assert judge(Names([record(authority.own, 2, selector, matching)]), chain) == Verdict(True, "dane")


def test_authorityInTheRecord() -> None:
    """A whole authority in the DNS need not be shown."""
    assert judge(Names([record(ROOT.own, 2, 0, 0)]), shown(ROOT.names(DOMAIN))) == Verdict(True, "dane")
    assert judge(Names([record(ROOT.own, 2)]), shown(ROOT.names(DOMAIN))) == Verdict(False, "", UNSAID)


def test_badUnderAuthority() -> None:
    """Usage 2 forgives nothing: names, dates, and an authority that has not signed."""
    names = Names([record(ROOT.own, 2)])
    other = judge(names, shown(ROOT.names("b.test"), ROOT.own))
    assert other == Verdict(False, "", f"the certificate is for b.test, not for {DOMAIN}")
    expired = judge(names, shown(ROOT.names(DOMAIN, expired=True), ROOT.own))
    assert expired == Verdict(False, "", "certificate has expired")
    forged = judge(names, shown(Authority("root").names(DOMAIN), ROOT.own))
    assert forged == Verdict(False, "", "certificate signature failure")
    garbage = judge(Names([b"\2\0\0rubbish"]), shown(ROOT.names(DOMAIN), ROOT.own))
    assert garbage == Verdict(False, "", "issued by an authority that is not trusted here")
    # The server's own certificate is no authority.
    own = selfSigned(DOMAIN)
    assert judge(Names([record(own, 2)]), shown(own)) == Verdict(False, "", UNSAID)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record(ROOT.own, 0), record(ROOT.own, 1)],
        [b"\3\2\1" + bytes(32), b"\3\1\3" + bytes(32), b"\3\1\1" + bytes(31), b"\3\1\2" + bytes(32), b"\3\1\0", b""],
    ],
    ids=["none", "usages 0 and 1", "malformed"],
)
def test_nothingUsable(records: list[bytes]) -> None:
    """Then PKIX decides (RFC 7673 3.4)."""
    assert judge(Names(records), shown(selfSigned(DOMAIN))) is None


def test_notProved() -> None:
    """Records without DNSSEC say nothing; below addresses without it nobody asks (RFC 7673 3.2)."""
    own = selfSigned(DOMAIN)
    assert judge(Names([record(own, 3)], secure=False), shown(own)) is None
    names = Names([record(own, 3)], addresses=False)
    assert judge(names, shown(own)) is None
    assert all(kind != TLSA for _, kind in names.asked)
    assert judge(names, shown(own), Target("192.0.2.1", 5269, secure=True)) is None


def test_lost() -> None:
    """If the records cannot be had, nothing else is good enough (RFC 7673 3.4); one family of addresses is."""
    names = Names([record(ROOT.own, 3)])
    names.lost = {AAAA, TLSA}
    assert judge(names, shown(ROOT.names(DOMAIN))) == Verdict(
        False, "", "its TLSA records could not be looked up: timeout"
    )
    names.lost = {AAAA, A}
    assert judge(names, shown(ROOT.names(DOMAIN))) is None


@given(st.lists(st.binary(max_size=80), max_size=4))
@settings(max_examples=60, deadline=None)
def test_anyRecords(records: list[bytes]) -> None:
    """Any bytes: no exception, and never valid."""
    readAssociations(records)
    verdict = judge(Names(records), shown(selfSigned(DOMAIN), ROOT.own))
    assert verdict is None or not verdict.valid
