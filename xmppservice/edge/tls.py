"""TLS for streams: contexts from a folder of certificates, and a lean layer on TCP.

The only file that imports OpenSSL. Policy: TLS 1.2 and 1.3; ECDHE with an AEAD cipher
only; no compression, no renegotiation, no resumption (its tickets and caches would cost
memory for every idle stream). Buffers are released while a stream is idle.

A host's files are ``<host>.crt`` (the certificate, then its chain) and ``<host>.key``.
`TLSProvider.reload` builds every context anew and swaps them all at once, or raises and
changes nothing; streams that are up keep what they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.edge.certificates import (
    CertificateProblem,
    KeyPair,
    loadPair,
    xmppAddresses,
)
from xmppservice.edge.writer import sendNow
from xmppservice.protocol.jid import prepareDomain
from xmppservice.protocol.sasl.credentials import ClientCertificate
from xmppservice.protocol.sasl.mechanism import Bindings

ALPN = b"xmpp-client"
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
RELEASE_BUFFERS = 0x10
_EXPORTER = b"EXPORTER-Channel-Binding"


@implementer(IOpenSSLServerConnectionCreator)
class HostTLS:
    """The server side of TLS for one host: a context, and what depends on its certificate."""

    def __init__(self, pair: KeyPair, verify: Callable[..., bool] | None, authorities: Path | None) -> None:
        self.pair = pair
        self.endPoint = endPointHash(pair.certificate)
        self.context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        context.set_mode(RELEASE_BUFFERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_cipher_list(CIPHERS)
        context.use_certificate(pair.certificate)
        for link in pair.chain:
            context.add_extra_chain_cert(link)
        context.use_privatekey(pair.key)
        context.check_privatekey()
        context.set_alpn_select_callback(_selectProtocol)
        # get_context() of a connection gives this context back, and with it the facts.
        context.set_app_data(self)
        if verify is not None:
            context.set_session_id(b"xmpp")
            if authorities is not None:
                context.load_verify_locations(str(authorities))
            context.set_verify(SSL.VERIFY_PEER, verify)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection for one handshake (IOpenSSLServerConnectionCreator)."""
        return SSL.Connection(self.context, None)


def _selectProtocol(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """XEP-0368: choose ours. A peer that offers only others means another service and gets an alert (RFC 7301 3.2)."""
    if ALPN in offered:
        return ALPN
    # pyOpenSSL makes the alert of any exception; Twisted looks into this one as into OpenSSL's own.
    raise SSL.Error([("SSL routines", "", "no application protocol")])


_verdicts: WeakKeyDictionary[SSL.Connection, bool] = WeakKeyDictionary()
"""Connections whose client showed a certificate → whether each step of its verification went well.

Not in the connection's app data: those are Twisted's.
"""


def _recordVerification(connection: SSL.Connection, certificate: object, code: int, depth: int, ok: int) -> bool:
    """A client certificate never ends the handshake; whether it is trusted is judged later."""
    _verdicts[connection] = _verdicts.get(connection, True) and bool(ok)
    return True


def endPointHash(certificate: x509.Certificate) -> bytes:
    """The channel binding tls-server-end-point (RFC 5929 4.1)."""
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)


@implementer(ISSLTransport)
class TLSLayer(TLSMemoryBIOProtocol):
    """Twisted's TLS protocol, whose ciphertext leaves as `edge.writer` sends plain bytes.

    Twisted's own default also gathers small writes in the next pass of the reactor; ours
    come gathered, so that would be one more pass of delay and one more timer per flush.
    """

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        """The traceback of a broken connection would keep all its memory until the next collection."""
        if reason is not None:
            reason.cleanFailure()
        super()._tlsShutdownFinished(reason)  # type: ignore[no-untyped-call]

    def _flushSendBIO(self) -> None:
        try:
            data = self._tlsConnection.bio_read(1 << 16)
        except SSL.WantReadError:
            return
        transport: Any = self.transport
        if isinstance(transport, Connection) and not transport.TLS:
            sendNow(transport, data)
        else:
            transport.write(data)


class TLSLayerFactory(TLSMemoryBIOFactory):
    """Puts `TLSLayer` around the protocols of a factory, or (with None) around one protocol at a time."""

    protocol = TLSLayer

    def __init__(self, creator: Any, wrapped: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(creator, False, wrapped, clock)

    def cover(self, protocol: IProtocol, connection: Connection) -> TLSLayer:
        """Start TLS on a connection that `protocol` uses already; returns its new transport."""
        layer = TLSLayer(self, protocol, False)  # type: ignore[no-untyped-call]
        connection.protocol = layer
        layer.makeConnection(connection)  # type: ignore[no-untyped-call]
        return layer


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
        self._verify = _recordVerification if clientCertificates else None
        self._authorities = Path(authorities) if authorities is not None else None
        self._hosts: dict[str, HostTLS] = {}
        self._layers: dict[str, TLSLayerFactory] = {}
        self._default = ""
        self.reload(hosts)

    def reload(self, hosts: Iterable[str] | None = None) -> None:
        """Read every pair again; on `CertificateProblem` the old ones stay in use."""
        names = list(self._hosts if hosts is None else hosts)
        fresh = {name: self._load(name) for name in names}
        for host in fresh.values():
            host.context.set_tlsext_servername_callback(self._chooseByName)
        self._hosts = fresh
        self._layers = {}
        self._default = names[0] if names else ""

    def adopt(self, other: TLSProvider) -> None:
        """Use from now on what another provider has read; streams that are up keep what they have."""
        self.directory, self._verify, self._authorities = other.directory, other._verify, other._authorities
        self._hosts, self._layers, self._default = other._hosts, {}, other._default

    def _load(self, name: str) -> HostTLS:
        pair = loadPair(self.directory, name)
        try:
            return HostTLS(pair, self._verify, self._authorities)
        except SSL.Error as error:
            raise CertificateProblem(f"{name}: certificate and key do not fit together: {error}") from None

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
        """Server name indication: an unknown or absent name keeps the default certificate."""
        try:
            # The name comes in A-labels; ours are in U-labels.
            name = prepareDomain((connection.get_servername() or b"").decode("ascii"))
        except ValueError:
            return
        host = self._hosts.get(name)
        if host is not None:
            connection.set_context(host.context)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection for direct TLS: the default host's, until the client names another."""
        return self._hosts[self._default].serverConnectionForTLS(protocol)

    def directFactory(self, wrapped: IProtocolFactory, clock: IReactorTime) -> TLSLayerFactory:
        """A factory for a port of direct TLS (XEP-0368)."""
        return TLSLayerFactory(self, wrapped, clock)

    def startTLS(self, protocol: IProtocol, transport: Any, domain: str, clock: IReactorTime) -> Any:
        """Start TLS for a host on a running stream; returns the transport to use from now on."""
        host = self._hosts[domain]
        if not isinstance(transport, Connection):
            transport.startTLS(host)
            return transport
        layers = self._layers.get(domain)
        if layers is None:
            layers = self._layers[domain] = TLSLayerFactory(host, Factory(), clock)
        return layers.cover(protocol, transport)

    def bindings(self, transport: Any) -> Bindings:
        """The channel bindings of a connection whose handshake is done (RFC 9266, RFC 5929)."""
        connection = _connectionOf(transport)
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
        connection = _connectionOf(transport)
        if connection is None or self._verify is None:
            return None
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return None
        trusted = self._authorities is not None and _verdicts.get(connection, False)
        return ClientCertificate(xmppAddresses(certificate), certificate.fingerprint(hashes.SHA256()), trusted)

    def describe(self, transport: Any) -> str:
        """Protocol version and cipher, for logs and `xmppctl sessions`."""
        connection = _connectionOf(transport)
        if connection is None:
            return ""
        return f"{connection.get_protocol_version_name()} {connection.get_cipher_name() or ''}".strip()


def _connectionOf(transport: Any) -> SSL.Connection | None:
    handle = getattr(transport, "getHandle", lambda: None)()
    return handle if isinstance(handle, SSL.Connection) else None
