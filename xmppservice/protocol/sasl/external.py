"""SASL EXTERNAL by client certificate (RFC 4422 appendix A, XEP-0178 section 2)."""

from __future__ import annotations

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.protocol.sasl.credentials import CertificateCredentials, ClientCertificate
from xmppservice.protocol.sasl.identity import parseIdentity
from xmppservice.protocol.sasl.mechanism import Mechanism, decodeText
from xmppservice.protocol.sasl.steps import Challenge, Step


class External(Mechanism):
    """One message: the authorisation identity, or nothing if the certificate leaves no choice."""

    __slots__ = ()

    def _advance(self, data: bytes | None) -> Step:
        certificate = self.context.clientCertificate
        if certificate is None or not self.context.tls:
            raise SASLFailure("invalid-mechanism")
        if data is None:
            return Challenge(b"")
        authzid = decodeText(data)
        local = self._choose(self._locals(certificate), authzid)
        return self._claim(local, authzid, CertificateCredentials(local, certificate))

    def _locals(self, certificate: ClientCertificate) -> list[str]:
        """Return the localparts that the certificate has at our host, each once."""
        found: dict[str, None] = {}
        for address in certificate.addresses:
            try:
                jid = JID.parse(address)
            except InvalidJID:
                continue
            if jid.isBare and jid.local and jid.domain == self.context.host:
                found[jid.local] = None
        return list(found)

    def _choose(self, names: list[str], authzid: str) -> str:
        """Pick the account. XEP-0178: with several addresses the client must say which."""
        if not names:
            raise SASLFailure("not-authorized")
        if len(names) == 1:
            return names[0]
        if not authzid:
            raise SASLFailure("invalid-authzid")
        wanted = parseIdentity(authzid).local
        return wanted if wanted in names else names[0]
