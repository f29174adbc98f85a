"""TLS between servers, as the one that is called and as the one that calls (RFC 6120 13.7, XEP-0178, XEP-0368).

The certificates are those of a `TLSProvider`; `ServerTLS` looks at what it has read, so a reload of
the one is a reload of both. A peer's certificate never ends a handshake. It is verified when somebody asks
for it, against one store of authorities that all connections share.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocol, IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Connection
from zope.interface import implementer

from xmppservice.edge.certificates import KeyPair
from xmppservice.edge.tls.contexts import SERVER_ALPN, HostTLS, Initiator, Listening, acceptAny, initiatingContext
from xmppservice.edge.tls.layer import TLSLayerFactory
from xmppservice.edge.tls.provider import TLSProvider, connectionOf
from xmppservice.edge.tls.verification import PeerCertificate, TrustStore
from xmppservice.protocol.jid import asciiDomain
from xmppservice.protocol.sasl.credentials import ClientCertificate


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS(TLSProvider):
    """The certificates of `source`, for streams of servers.

    `authorities` is a PEM file of those who may have issued a peer's certificate; without it they are the
    system's. Raises `CertificateProblem` if it cannot be used. Contexts are made when a host first
    has a stream.
    """

    def __init__(self, source: TLSProvider, authorities: str | Path | None = None) -> None:
        self.trust = TrustStore(Path(authorities) if authorities is not None else None)
        self._listening = Listening(SERVER_ALPN, acceptAny, depth=0)
        self._layers = {}
        self._follow(source)

    def _follow(self, source: TLSProvider) -> None:
        self._source = source
        self._hosts = source._hosts
        self.directory, self._default = source.directory, source._default
        self._listeners: dict[str, HostTLS] = {}
        self._initiators: dict[str, SSL.Context] = {}
        self._layers.clear()

    def reload(self, hosts: Any = None) -> None:
        """Read every pair again, for the source too; on `CertificateProblem` the old ones stay in use."""
        self._source.reload(hosts)

    def adopt(self, other: TLSProvider) -> None:
        """Use the authorities of another `ServerTLS`, and follow its source, from now on."""
        assert isinstance(other, ServerTLS)
        self.trust = other.trust
        self._follow(other._source)

    def _current(self) -> None:
        """Drop what was made of certificates that the source no longer has."""
        if self._source._hosts is not self._hosts:
            self._follow(self._source)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The domains that have a certificate."""
        return self._source.hosts

    def has(self, domain: str) -> bool:
        """Whether TLS can be offered for a domain."""
        return self._source.has(domain)

    def pairs(self) -> dict[str, KeyPair]:
        """Domain → certificate and key."""
        return self._source.pairs()

    def _find(self, domain: str) -> HostTLS | None:
        self._current()
        found = self._listeners.get(domain)
        if found is None and domain in self._hosts:
            found = self._listeners[domain] = self._build(domain, self._hosts[domain].pair)
        return found

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection for direct TLS: the default host's, until the peer names another."""
        self._current()
        return super().serverConnectionForTLS(protocol)

    def clientCertificate(self, transport: Any) -> ClientCertificate | None:
        """None: a server's certificate says nothing about an account; see `peerCertificate`."""
        return None

    def startClientTLS(
        self, protocol: IProtocol, transport: Any, local: str, remote: str, clock: IReactorTime, alpn: bool
    ) -> Any:
        """Start TLS as client on a connection that `protocol` uses; returns the transport to use from now on.

        `local` is the domain that calls, whose certificate is shown if it has one, `remote` the one
        that is called; `alpn`: TLS comes before the stream (XEP-0368). What is written before the end of the
        handshake waits for it.
        """
        self._current()
        host = self._hosts.get(local)
        known = local if host is not None else ""
        context = self._initiators.get(known)
        if context is None:
            context = self._initiators[known] = initiatingContext(host.pair if host is not None else None)
        initiator = Initiator(context, _serverName(remote), alpn)
        if not isinstance(transport, Connection):
            transport.startTLS(initiator)
            return transport
        return TLSLayerFactory(initiator, Factory(), clock, initiating=True).cover(protocol, transport)

    def peerCertificate(self, transport: Any) -> PeerCertificate | None:
        """The peer's certificate and whether its chain is good; None before the end of the handshake and
        if it showed none. Each call verifies anew, so keep the answer."""
        connection = connectionOf(transport)
        if connection is None:
            return None
        incoming = isinstance(connection.get_context().get_app_data(), HostTLS)
        return self.trust.examine(connection, incoming)


def _serverName(domain: str) -> bytes:
    """The name for SNI, in A-labels; none for addresses (RFC 6066 3)."""
    try:
        ipaddress.ip_address(domain.strip("[]"))
    except ValueError:
        return asciiDomain(domain).encode("ascii")
    return b""
