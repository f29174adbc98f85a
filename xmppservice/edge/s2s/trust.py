"""Whether the other end of a stream between servers is the domain it says: PKIX, and if configured DANE and POSH.

PKIX: the chain is good, and the certificate names the domain itself. The name of the host that an SRV record
points to is not enough (hardening S07), even if DNSSEC proves the record. Whoever wants to vouch for another host says
so by DANE (RFC 7673) or by POSH (RFC 7711).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from xmppservice.edge.s2s.identity import identifies, names
from xmppservice.protocol.stream.s2s import NO_CERTIFICATE, Verdict

if TYPE_CHECKING:
    from xmppservice.edge.s2s.targets import Target
    from xmppservice.edge.tls import PeerCertificate

_MOST_SHOWN = 3


class IsVouched(Protocol):
    """What `edge.s2s.posh` does."""

    def vouches(self, certificate: PeerCertificate, domain: str) -> Deferred[Verdict]:
        """Whether the domain's web server says that this is its certificate."""


class IsPublished(Protocol):
    """What `edge.s2s.dane` does."""

    def judge(self, certificate: PeerCertificate, domain: str, target: Target) -> Deferred[Verdict | None]:
        """Whether the DNS says that this is the target's certificate; None if it says nothing."""


class Judge:
    """Judges the certificates of other servers."""

    def __init__(self, posh: IsVouched | None = None, dane: IsPublished | None = None) -> None:
        self._posh = posh
        self._dane = dane

    def judge(
        self, certificate: PeerCertificate | None, domain: str, target: Target | None
    ) -> Verdict | Deferred[Verdict]:
        """Whether a certificate is valid for a prepared domain.

        `target` is what we have connected to, None if the peer has called: then nothing in the DNS
        is about this connection, and DANE does not apply.
        """
        if certificate is None:
            return NO_CERTIFICATE
        if self._dane is None or target is None or not target.secure:
            return self._withoutDANE(certificate, domain)
        published = self._dane.judge(certificate, domain, target)
        # TLSA records that can be used decide alone (RFC 7673 4.2).
        return published.addCallback(lambda verdict: verdict or self._withoutDANE(certificate, domain))

    def _withoutDANE(self, certificate: PeerCertificate, domain: str) -> Verdict | Deferred[Verdict]:
        verdict = judgeChain(certificate, domain)
        if verdict.valid or self._posh is None:
            return verdict

        def combine(vouched: Verdict) -> Verdict:
            return vouched if vouched.valid else Verdict(False, reason=f"{verdict.reason}; {vouched.reason}")

        return self._posh.vouches(certificate, domain).addCallback(combine)


def judgeChain(certificate: PeerCertificate, domain: str) -> Verdict:
    """The verdict by PKIX alone (RFC 6120 13.7.2)."""
    if certificate.error:
        return Verdict(False, reason=certificate.error)
    if identifies(certificate.der, domain):
        return Verdict(True, "pkix")
    return Verdict(False, reason=wrongName(certificate.der, domain))


def wrongName(der: bytes, domain: str) -> str:
    """That a certificate is not for a domain, and for whom it is."""
    found = names(der)
    if not found:
        return f"the certificate is not for {domain}: it has no name of a server"
    shown = ", ".join(found[:_MOST_SHOWN])
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return f"the certificate is for {shown}{more}, not for {domain}"
