"""Twisted's TLS protocol, as lean as the writer under it."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, ISSLTransport
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.edge.writer import sendNow


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
    """Puts `TLSLayer` around the protocols of a factory, or (with an idle one) around one protocol at a time.

    `initiating`: as TLS client.
    """

    protocol = TLSLayer

    def __init__(
        self, creator: Any, wrapped: IProtocolFactory, clock: IReactorTime, initiating: bool = False
    ) -> None:
        super().__init__(creator, initiating, wrapped, clock)

    def cover(self, protocol: IProtocol, connection: Connection) -> TLSLayer:
        """Start TLS on a connection that `protocol` uses already; returns its new transport."""
        layer = TLSLayer(self, protocol, False)  # type: ignore[no-untyped-call]
        connection.protocol = layer
        layer.makeConnection(connection)  # type: ignore[no-untyped-call]
        return layer
