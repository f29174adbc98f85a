"""One question to one name server: a datagram and the reply to it, over TCP if the reply did not fit.

Each question has a socket of its own, connected to the server: so the system picks a source port nobody can guess, and
takes datagrams from that server only (RFC 5452). A datagram that is no answer is passed over, a few of them; then
the server counts as one that talks nonsense.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ClientFactory
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.edge.s2s.nameservers import NameServer
from xmppservice.edge.s2s.questions import Answer, LookupFailed, Question, Truncated, Useless

_MAX_DATAGRAM: Final = 4096
_MAX_STREAM: Final = 16 * 1024
"""Octets of a reply over TCP that are read: far more than an answer of use has, far less than would be a burden."""
_MAX_USELESS: Final = 16


class Exchange:
    """Asks; `answer` fires once, with the answer or with `LookupFailed`; `timeout` holds for both transports together.

    `timedOut` tells silence from a failure that another try would only repeat.
    """

    def __init__(self, reactor: Any, server: NameServer, question: Question, timeout: float) -> None:
        self.answer: Deferred[Answer] = Deferred(lambda _: self._close())
        self.question = question
        self._reactor = reactor
        self._server = server
        self._transport: _Datagrams | _Stream | None = None
        self._done = False
        self.timedOut = False
        self._timeout = reactor.callLater(timeout, self._late)
        self._datagram()

    def _datagram(self) -> None:
        try:
            self._transport = _Datagrams(self, self._reactor, self._server)
        except OSError as error:
            self.fail(f"cannot be asked: {error.strerror or error}")

    def received(self, data: bytes) -> bool:
        """A reply, maybe; whether to go on reading."""
        try:
            answer = self.question.decode(data)
        except Truncated:
            if isinstance(self._transport, _Stream):
                self.fail("answered with part of an answer")
            else:
                self._stream()
            return False
        except Useless as reason:
            if reason.final:
                self.fail(f"answered {reason}")
                return False
            return True
        self._close()
        self.answer.callback(answer)
        return False

    def _stream(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._transport = stream = _Stream(self)
        stream.connector = self._reactor.connectTCP(self._server.host, self._server.port, stream)

    def _late(self) -> None:
        self.timedOut = True
        self.fail("did not answer in time")

    def fail(self, reason: str) -> None:
        """The end without an answer."""
        if not self._done:
            self._close()
            self.answer.errback(LookupFailed(f"the name server {self._server} {reason}"))

    def _close(self) -> None:
        # What is closed below may report that it is.
        self._done = True
        if self._timeout.active():
            self._timeout.cancel()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()


@implementer(IReadDescriptor)
class _Datagrams:
    """A connected UDP socket. (The ports of Twisted say in the log when they open and close, for each question.)"""

    def __init__(self, exchange: Exchange, reactor: Any, server: NameServer) -> None:
        self._exchange = exchange
        self._reactor = reactor
        self._useless = 0
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect((server.host, server.port))
            self._socket.send(exchange.question.encode())
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "names"

    def doRead(self) -> None:
        while self._socket.fileno() != -1:
            try:
                data = self._socket.recv(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # What ICMP said: usually that nothing listens there.
                self._exchange.fail(f"cannot be asked: {error.strerror or error}")
                return
            if not self._exchange.received(data):
                return
            self._useless += 1
            if self._useless >= _MAX_USELESS:
                self._exchange.fail("sends replies that answer nothing")

    def connectionLost(self, reason: Failure) -> None:
        # This, and not a failed read, is how some reactors report what ICMP said.
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if self.fileno() != -1 else 0
        self._exchange.fail(f"cannot be asked: {os.strerror(number)}" if number else "cannot be asked any more")

    def close(self) -> None:
        """Read no more."""
        if self._socket.fileno() != -1:
            self._reactor.removeReader(self)
            self._socket.close()


class _StreamProtocol(Int16StringReceiver):
    MAX_LENGTH = _MAX_STREAM

    def __init__(self, owner: _Stream) -> None:
        self.owner = owner

    def connectionMade(self) -> None:
        self.sendString(self.owner.exchange.question.encode())  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        if self.owner.exchange.received(string):
            self.owner.exchange.fail("sends replies that answer nothing")

    def lengthLimitExceeded(self, length: int) -> None:
        self.owner.exchange.fail("sends an answer that is too long")


class _Stream(ClientFactory):
    noisy = False

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.connector: Any = None

    def buildProtocol(self, addr: object) -> _StreamProtocol:
        return _StreamProtocol(self)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        refused = reason.check(Refused) is not None
        self.exchange.fail("refuses connections over TCP" if refused else "cannot be reached over TCP")

    def clientConnectionLost(self, connector: object, reason: Failure) -> None:
        self.exchange.fail("closed the connection before it answered")

    def close(self) -> None:
        """Hang up."""
        connector, self.connector = self.connector, None
        if connector is None:
            return
        if connector.state == "connected":
            connector.transport.abortConnection()
        else:
            connector.stopConnecting()
