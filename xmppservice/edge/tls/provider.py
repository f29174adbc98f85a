"""The certificates of all hosts, for the streams of clients.

A host's files are ``<host>.crt`` (the certificate, then its chain) and ``<host>.key``.
`TLSProvider.reload` builds every context anew and swaps them all at once, or raises and
changes nothing; streams that are up keep what they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Connection
from zope.interface import implementer

from xmppservice.edge.certificates import MALFORMED, CertificateProblem, KeyPair, loadPair, xmppAddresses
from xmppservice.edge.tls.contexts import CLIENT_ALPN, HostTLS, Listening, recordVerification, verdicts
from xmppservice.edge.tls.layer import TLSLayerFactory
from xmppservice.protocol.jid import prepareDomain
from xmppservice.protocol.sasl.credentials import ClientCertificate
from xmppservice.protocol.sasl.mechanism import Bindings

_EXPORTER = b"EXPORTER-Channel-Binding"


@implementer(IOpenSSLServerConnectionCreator)
class TLSProvider:
    """Certificates of all hosts.

    `hosts` are domains; `clientCertificates` asks clients for a certificate (XEP-0178), which is
    trusted if it chains to `authorities` (a PEM file). Raises `CertificateProblem`.
    """

    def __init__(
        self,
        directory: str | Path,
        hosts: Iterable[str],
        clientCertificates: bool = False,
        authorities: str | Path | None = None,
    ) -> None:
        self.directory = Path(directory)
        self._listening = Listening(
            CLIENT_ALPN,
            recordVerification if clientCertificates else None,
            Path(authorities) if authorities is not None else None,
        )
        self._hosts: dict[str, HostTLS] = {}
        self._layers: dict[str, TLSLayerFactory] = {}
        self._default = ""
        self.reload(hosts)

    def reload(self, hosts: Iterable[str] | None = None) -> None:
        """Read every pair again; on `CertificateProblem` the old ones stay in use."""
        names = list(self._hosts if hosts is None else hosts)
        self._hosts = {name: self._build(name, loadPair(self.directory, name)) for name in names}
        self._layers = {}
        self._default = names[0] if names else ""

    def adopt(self, other: TLSProvider) -> None:
        """Use from now on what another provider has read; streams that are up keep what they have."""
        self.directory, self._listening = other.directory, other._listening
        self._hosts, self._layers, self._default = other._hosts, {}, other._default

    def _build(self, name: str, pair: KeyPair) -> HostTLS:
        try:
            host = HostTLS(pair, self._listening)
        except SSL.Error as error:
            raise CertificateProblem(f"{name}: certificate and key do not fit together: {error}") from None
        host.context.set_tlsext_servername_callback(self._chooseByName)
        return host

    def _find(self, domain: str) -> HostTLS | None:
        return self._hosts.get(domain)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The domains that have a certificate."""
        return tuple(self._hosts)

    def pairs(self) -> dict[str, KeyPair]:
        """Domain → certificate and key, for checks of expiry and names."""
        return {name: host.pair for name, host in self._hosts.items()}

    def has(self, domain: str) -> bool:
        """Whether TLS can be offered for a domain."""
        return domain in self._hosts

    def _chooseByName(self, connection: SSL.Connection) -> None:
        """Server name indication: for a name below a host, such as a component's, the host's certificate is shown; a
        name that is unknown or absent keeps the default one."""
        try:
            # The name comes in A-labels; ours are in U-labels.
            name = prepareDomain((connection.get_servername() or b"").decode("ascii"))
        except ValueError:
            return
        while name:
            host = self._find(name)
            if host is not None:
                connection.set_context(host.context)
                return
            name = name.partition(".")[2]

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection for direct TLS: the default host's, until the client names another."""
        host = self._find(self._default)
        assert host is not None
        return host.serverConnectionForTLS(protocol)

    def directFactory(self, wrapped: IProtocolFactory, clock: IReactorTime) -> TLSLayerFactory:
        """A factory for a port of direct TLS (XEP-0368)."""
        return TLSLayerFactory(self, wrapped, clock)

    def startTLS(self, protocol: IProtocol, transport: Any, domain: str, clock: IReactorTime) -> Any:
        """Start TLS for a host on a running stream; returns the transport to use from now on."""
        host = self._find(domain)
        if host is None:
            raise KeyError(domain)
        if not isinstance(transport, Connection):
            transport.startTLS(host)
            return transport
        layers = self._layers.get(domain)
        if layers is None:
            layers = self._layers[domain] = TLSLayerFactory(host, Factory(), clock)
        return layers.cover(protocol, transport)

    def bindings(self, transport: Any) -> Bindings:
        """The channel bindings of a connection whose handshake is done (RFC 9266, RFC 5929)."""
        connection = connectionOf(transport)
        if connection is None:
            return {}
        found: dict[str, bytes | Callable[[], bytes]] = {}
        if connection.get_protocol_version() == SSL.TLS1_3_VERSION:
            found["tls-exporter"] = lambda: connection.export_keying_material(_EXPORTER, 32, b"")
        host = connection.get_context().get_app_data()
        if isinstance(host, HostTLS):
            found["tls-server-end-point"] = host.endPoint
        return found

    def clientCertificate(self, transport: Any) -> ClientCertificate | None:
        """What the client's certificate says, if it showed one (XEP-0178)."""
        connection = connectionOf(transport)
        if connection is None or self._listening.verify is None:
            return None
        try:
            certificate = connection.get_peer_certificate(as_cryptography=True)
        except MALFORMED:
            # OpenSSL reads some that cryptography does not.
            return None
        if certificate is None:
            return None
        trusted = self._listening.authorities is not None and verdicts.get(connection, False)
        return ClientCertificate(xmppAddresses(certificate), certificate.fingerprint(hashes.SHA256()), trusted)

    def describe(self, transport: Any) -> str:
        """Protocol version and cipher, for logs and `xmppctl sessions`."""
        connection = connectionOf(transport)
        if connection is None:
            return ""
        return f"{connection.get_protocol_version_name()} {connection.get_cipher_name() or ''}".strip()


def connectionOf(transport: Any) -> SSL.Connection | None:
    """OpenSSL's connection under a transport, if there is one."""
    handle = getattr(transport, "getHandle", lambda: None)()
    return handle if isinstance(handle, SSL.Connection) else None
