"""The verdict on a certificate: hardening T06 and S07, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import Deferred, succeed

from tests.security.certificates import Authority, Identity, selfSigned
from xmppservice.edge.s2s.targets import Target
from xmppservice.edge.s2s.trust import Judge
from xmppservice.edge.tls import PeerCertificate, TrustStore
from xmppservice.protocol.stream.s2s import Verdict

A = "a.im.test"
ROOT = Authority("root", None)
FALSE = ROOT.deputy("false", authority=False)
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    """A store that knows one authority."""
    path = tmp_path_factory.mktemp("trust") / "authorities.pem"
    path.write_bytes(ROOT.pem)
    return TrustStore(path)


def shown(trust: TrustStore, *chain: Identity, incoming: bool = False) -> PeerCertificate:
    """A certificate as the handshake gives it."""
    ders = tuple(identity.der for identity in chain)
    return PeerCertificate(ders[0], ders, trust.verify(ders, incoming))


BAD = {
    "self-signed": ([selfSigned(A)], "self-signed certificate"),
    "expired": ([ROOT.names(A, expired=True)], "certificate has expired"),
    "not yet valid": ([ROOT.names(A, future=True)], "certificate is not yet valid"),
    "wrong name": ([ROOT.names("b.test")], f"the certificate is for b.test, not for {A}"),
    "wildcard over two levels": ([ROOT.names("*.test")], f"the certificate is for *.test, not for {A}"),
    "only a common name": ([ROOT.names(common=A)], f"the certificate is not for {A}: it has no name of a server"),
    "issuer is no authority": ([FALSE.names(A), FALSE.own], "issued by a certificate that is not an authority's"),
    "for clients only": ([ROOT.names(A, usage=CLIENT)], "not for servers"),
    "unknown authority": ([Authority("stranger").names(A)], "issued by an authority that is not trusted here"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad(trust: TrustStore, case: str) -> None:
    """T06: the certificates that a server on the way could show, each with its reason."""
    chain, reason = BAD[case]
    assert Judge().judge(shown(trust, *chain), A, Target(A, 5269)) == Verdict(False, "", reason)


def test_good(trust: TrustStore) -> None:
    """The same authority, the right name; and for a peer that calls, a certificate for clients too."""
    assert Judge().judge(shown(trust, ROOT.names(A)), A, Target(A, 5269)) == Verdict(True, "pkix")
    calling = shown(trust, ROOT.names(A, usage=CLIENT), incoming=True)
    assert Judge().judge(calling, A, None) == Verdict(True, "pkix")


def test_nameOfTarget(trust: TrustStore) -> None:
    """S07: the name of the SRV target does not count, not even with DNSSEC."""
    target = Target("xmpp.hosting.test", 5269, secure=True)
    verdict = Judge().judge(shown(trust, ROOT.names("xmpp.hosting.test")), A, target)
    assert verdict == Verdict(False, "", f"the certificate is for xmpp.hosting.test, not for {A}")


def test_manyNames(trust: TrustStore) -> None:
    """A reason stays short."""
    many = shown(trust, ROOT.names(*(f"h{number}.test" for number in range(9))))
    verdict = Judge().judge(many, A, None)
    assert isinstance(verdict, Verdict)
    assert verdict.reason == f"the certificate is for h0.test, h1.test, h2.test and 6 more, not for {A}"


def test_none() -> None:
    """Without a certificate there is nothing to judge."""
    assert Judge().judge(None, A, None) == Verdict(False, "", "it showed no certificate")


class Oracle:
    """Stands in for POSH and DANE: says what it is told, and counts the questions."""

    def __init__(self, verdict: Verdict | None) -> None:
        self.verdict = verdict
        self.asked = 0

    def vouches(self, certificate: PeerCertificate, domain: str) -> Deferred[Verdict]:
        """POSH."""
        self.asked += 1
        assert self.verdict is not None
        return succeed(self.verdict)

    def judge(self, certificate: PeerCertificate, domain: str, target: Target) -> Deferred[Verdict | None]:
        """DANE."""
        self.asked += 1
        return succeed(self.verdict)


def result(found: Any) -> Verdict:
    """A verdict that is there, at once or in a Deferred."""
    if isinstance(found, Deferred):
        got: list[Verdict] = []
        found.addCallback(got.append)
        return got[0]
    assert isinstance(found, Verdict)
    return found


def test_POSHComesLast(trust: TrustStore) -> None:
    """It is asked only if the certificate is not good by itself, and its reason is added."""
    posh = Oracle(Verdict(True, "posh"))
    assert Judge(posh).judge(shown(trust, ROOT.names(A)), A, None) == Verdict(True, "pkix")
    assert posh.asked == 0
    assert result(Judge(posh).judge(shown(trust, ROOT.names("b.test")), A, None)) == Verdict(True, "posh")
    posh.verdict = Verdict(False, "", "no POSH")
    verdict = result(Judge(posh).judge(shown(trust, selfSigned(A)), A, None))
    assert verdict == Verdict(False, "", "self-signed certificate; no POSH")


def test_DANEComesFirst(trust: TrustStore) -> None:
    """RFC 7673 4.2: what is published decides, for good or bad, where DNSSEC proves the target; else PKIX does."""
    good, bad = shown(trust, ROOT.names(A)), shown(trust, selfSigned("b.test"))
    secure, insecure = Target("x.test", 5269, secure=True), Target("x.test", 5269)
    dane = Oracle(Verdict(False, "", "other key"))
    judge = Judge(dane=dane)
    assert result(judge.judge(good, A, secure)) == Verdict(False, "", "other key")
    dane.verdict = Verdict(True, "dane")
    assert result(judge.judge(bad, A, secure)) == Verdict(True, "dane")
    dane.verdict = None
    assert result(judge.judge(good, A, secure)) == Verdict(True, "pkix")
    dane.asked = 0
    assert result(judge.judge(bad, A, insecure)) == Verdict(False, "", "self-signed certificate")
    assert result(judge.judge(bad, A, None)) == Verdict(False, "", "self-signed certificate")
    assert dane.asked == 0


def test_storeFile(tmp_path: Path) -> None:
    """An administrator may trust one self-signed certificate by putting it into the file."""
    own = selfSigned(A)
    path = own.write(tmp_path, "own")
    assert Judge().judge(shown(TrustStore(path), own), A, None) == Verdict(True, "pkix")
