"""`StreamDriver`: one XML stream on one connection.

Theory of operation. Until a session is bound, items of the parser go to the stream
machine and the driver performs what it asks (`protocol.stream.events`). An ask that
waits for an answer raises `_halt`; while that is not zero nothing is taken from the
input, and more data only waits (and stops the reading). Input that waits lives in
`_Input`, together with the raw bytes behind the last item taken: after a restart those
belong to a new parser, and behind ``<starttls/>`` there must be none.

Once a session is bound, `_fast` is that session, and `dataReceived` hands it each
element without any of the above. `_fast` is None again while the stream is paused, and
for good once it is over: that one attribute is all the hot path looks at.

A stream ends in one of three ways: the peer closes it, we close it, or the connection is
lost. `_over` is set at the first; what is left is to see the connection closed, which
the factory's sweep enforces (`edge.c2s`). No connection owns a timer.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.edge.login import Avatar, fetchSecrets, judge, saslFailure
from xmppservice.edge.writer import Outlet, carrier, unsent
from xmppservice.hub.contracts.stream import (
    IClosingSession,
    IProbingSession,
    ISession,
    IStream,
    ResumeFailed,
)
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.stanza import errorFor
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.framing import TCP
from xmppservice.protocol.stream.machine import StreamMachine, parseFailure
from xmppservice.wire.element import Element
from xmppservice.wire.parser import Item, ParseError, StreamEnd, StreamParser

if TYPE_CHECKING:
    from xmppservice.edge.c2s import C2SFactory

_log = Logger()

Answer = Callable[[Any], object]


class _Input:
    """What has arrived and was not taken yet."""

    __slots__ = ("busy", "data", "end", "items", "late", "size", "stopped")

    def __init__(self) -> None:
        self.items: deque[tuple[Item, int]] = deque()
        self.data = b""
        self.end = 0
        self.late: list[bytes] = []
        self.size = 0
        self.busy = False
        self.stopped = False


@implementer(IProtocol, IHalfCloseableProtocol, IStream)
class StreamDriver(Outlet):
    """One stream: a Twisted protocol to its transport, an IStream to its session."""

    __slots__ = (
        "__weakref__",
        "_fast",
        "_halt",
        "_input",
        "_logout",
        "_over",
        "_securing",
        "avatar",
        "factory",
        "id",
        "machine",
        "parser",
        "peer",
        "quiet",
        "secure",
        "session",
    )

    def __init__(self, factory: C2SFactory) -> None:
        super().__init__(factory.writer, factory.settings.outgoing)
        self.factory = factory
        self.id = ""
        self.peer = ""
        self.secure = False
        #: Sweeps since anything was read; see `C2SFactory`.
        self.quiet = 0
        self.session: ISession | None = None
        self.avatar: Any = None
        self.machine: StreamMachine | None = None
        self.parser: StreamParser | None = None
        self._fast: ISession | None = None
        self._halt = 0
        self._input: _Input | None = None
        self._logout: Callable[[], object] | None = None
        self._over = False
        self._securing = False

    # -- the transport speaks -------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """A connection is there; direct TLS may still have its handshake to do."""
        self.openOutlet(transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        """Begin to negotiate."""
        transport: Any = self.transport
        self.peer = str(getattr(transport.getPeer(), "host", ""))
        connection = carrier(transport)
        if connection is not None:
            connection.setTcpNoDelay(True)
            if self.factory.settings.keepAlive:
                connection.setTcpKeepAlive(True)
        self.machine = self.factory.makeMachine(self)
        self.parser = StreamParser(self.factory.settings.preAuth)
        self._input = _Input()
        self._securing = ISSLTransport.providedBy(transport)
        self.factory.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """Take what was read: the hot path."""
        self.quiet = 0
        session = self._fast
        writer = self.writer
        writer.reading = True
        if session is None:
            self._received(data)
        else:
            try:
                receive = session.receive
                items = iter(self.parser.feed(data))  # type: ignore[union-attr]
                for item, _ in items:
                    if item.__class__ is Element:
                        receive(item)
                        if self._fast is None:
                            self._keep(items)
                            break
                    else:
                        self._ended(item)
                        break
            except Exception:
                self._fault(Failure())  # type: ignore[no-untyped-call]
        writer.flush()

    def readConnectionLost(self) -> None:
        """The peer closed its half: more will not come, but it may still read (RFC 6120 4.4)."""
        self._giveUp(None)
        if self.transport is not None:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed, as we asked."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        session, logout = self.session, self._logout
        self._end()
        self._logout = self.avatar = None
        self.closeOutlet()
        self.factory.disconnected(self)
        self.transport = None
        for last in (session.streamLost if session is not None else None, logout):
            if last is not None:
                self._guard(last)

    # -- IStream --------------------------------------------------------------------------

    def fail(self, error: StreamError) -> None:
        """Send a stream error and close (IStream.fail)."""
        self._finish(error, True)

    def close(self) -> None:
        """Close the stream, then the connection (IStream.close)."""
        self._finish(None, False)

    def pause(self) -> None:
        """Take nothing more from the input (IStream.pause). Reading stops when data comes."""
        self._halt += 1
        self._fast = None

    def resume(self) -> None:
        """Undo one `pause` (IStream.resume)."""
        self._halt -= 1
        if self._halt or self._over:
            return
        if self._input is None:
            self._fast = self.session
        else:
            # Not at once: whoever resumes may be in the midst of what it paused for.
            self.factory.clock.callLater(0, self._proceed)

    # -- input that cannot be taken at once -----------------------------------------------

    def _received(self, data: bytes) -> None:
        if self._over:
            self._awaitEnd(data)
            return
        if self._securing:
            self._secured()
        if self._input is None:
            self._input = _Input()
        waiting = self._input
        waiting.late.append(data)
        if not self._halt:
            self._pump()
            return
        waiting.size += len(data)
        if not waiting.stopped:
            waiting.stopped = True
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def _keep(self, items: Iterator[tuple[Item, int]]) -> None:
        """The session paused in the midst of a read: the rest waits."""
        rest = () if self._over else tuple(items)
        if rest:
            self._input = _Input()
            self._input.items.extend(rest)

    def _proceed(self) -> None:
        """Go on after a pause, and flush what comes of it."""
        if self._input is not None and not self._halt:
            self.writer.reading = True
            self._pump()
            self.writer.flush()

    def _pump(self) -> None:
        """Take what waits, in order, until something has to be waited for."""
        waiting = self._input
        if waiting is None or waiting.busy:
            return
        waiting.busy = True
        try:
            while not self._halt and not self._over and self._next(waiting):
                pass
        except Exception:
            self._fault(Failure())  # type: ignore[no-untyped-call]
        waiting.busy = False
        if self._halt or self._over:
            return
        if waiting.stopped:
            waiting.stopped = False
            waiting.size = 0
            self.transport.resumeProducing()  # type: ignore[union-attr]
        if self.session is not None:
            self._input = None
            self._fast = self.session

    def _next(self, waiting: _Input) -> bool:
        """Take one item; False if there is none."""
        if not waiting.items:
            if not waiting.late or self.parser is None:
                return False
            waiting.data, waiting.end = b"".join(waiting.late), 0
            waiting.late.clear()
            waiting.items.extend(self.parser.feed(waiting.data))
            return True
        item, waiting.end = waiting.items.popleft()
        if self.session is None:
            machine = self.machine
            assert machine is not None
            asks = machine.receive(item)
            self.id = machine.id
            self._perform(asks)
        elif isinstance(item, Element):
            self.session.receive(item)
        else:
            self._ended(item)
        return True

    def _ended(self, item: object) -> None:
        """Something other than an element arrived on a bound stream."""
        session = self.session
        if isinstance(item, ParseError):
            self._giveUp(parseFailure(item))
        elif isinstance(item, StreamEnd):
            self.session = None
            self._finish(None, True)
            if session is not None:
                session.streamClosed()
        else:
            self._giveUp(StreamError("invalid-xml", "a stream has one header"))

    # -- what the machine asks ------------------------------------------------------------

    def _perform(self, asks: list[events.Ask]) -> None:
        for ask in asks:
            if isinstance(ask, events.Send):
                self.send(ask.data)
            else:
                _PERFORM[type(ask)](self, ask)

    def _wait(self, due: Deferred[Any], answered: Answer, failed: Answer) -> None:
        """Hold the input until `due` has its result."""
        self._halt += 1
        due.addCallbacks(answered, failed)
        due.addErrback(self._fault)
        due.addBoth(self._answered)

    def _answered(self, _: object) -> None:
        self._halt -= 1
        if self._input is not None and not self._input.busy:
            self._proceed()

    def _startTLS(self, ask: events.StartTLS) -> None:
        """RFC 6120 5.4.2.3; hardening T01: nothing unprotected may follow."""
        waiting, machine = self._input, self.machine
        assert waiting is not None and machine is not None and machine.host is not None
        if waiting.items or waiting.late or waiting.end < len(waiting.data):
            self._perform(machine.fail(StreamError("policy-violation", "data behind <starttls/>")))
            return
        self.send(ask.proceed)
        self.flush()
        self.parser = StreamParser(self.factory.settings.preAuth)
        self._securing = True
        self.openOutlet(self.factory.startTLS(self, machine.host.name))

    def _secured(self) -> None:
        """The first bytes came through TLS, so its handshake is done."""
        self._securing = False
        self.secure = True
        tls = self.factory.tls
        if self.machine is not None and tls is not None:
            self.machine.secured(tls.bindings(self.transport), tls.clientCertificate(self.transport))

    def _restart(self, ask: events.Restart) -> None:
        """A new stream on the same connection gets a new parser and the raw remainder."""
        waiting = self._input
        assert waiting is not None
        remainder = waiting.data[waiting.end :]
        waiting.items.clear()
        waiting.data, waiting.end = b"", 0
        if remainder:
            waiting.late.insert(0, remainder)
        if self.parser is not None:
            self.parser.close()
        self.parser = StreamParser(self.factory.settings.authenticated)
        self.factory.authenticated(self)

    def _fetchSecrets(self, ask: events.FetchSecrets) -> None:
        self._wait(fetchSecrets(self, ask.user, ask.mechanism), self._secretsFetched, self._loginFailed)

    def _secretsFetched(self, answer: tuple[bytes, int]) -> None:
        if self.machine is not None:
            self._perform(self.machine.secretsFetched(*answer))

    def _login(self, ask: events.Login) -> None:
        self._wait(judge(self, ask.credentials), self._loggedIn, self._loginFailed)

    def _loggedIn(self, answer: Avatar) -> None:
        _, avatar, logout = answer
        if self.machine is None or self._over:
            logout()
            return
        self._logout, self.avatar = logout, avatar
        self._perform(self.machine.loggedIn(avatar.jid))

    def _loginFailed(self, failure: Failure) -> None:
        if self.machine is not None:
            self._perform(self.machine.loginFailed(saslFailure(failure)))

    def _preAuth(self, ask: events.PreAuth) -> None:
        host = self.factory.hostOf(self)
        self._wait(
            maybeDeferred(host.preAuth, ask.iq, self),
            self._preAuthAnswered,
            lambda failure: self._preAuthFailed(failure, ask.iq),
        )

    def _preAuthAnswered(self, reply: Element) -> None:
        if self.machine is not None:
            self._perform(self.machine.preAuthAnswered(reply))

    def _preAuthFailed(self, failure: Failure, iq: Element) -> None:
        error = failure.value
        if not isinstance(error, StanzaError):
            self._fault(failure)
            return
        reply = errorFor(iq, error)
        assert reply is not None
        self._preAuthAnswered(reply)

    def _bind(self, ask: events.Bind) -> None:
        self._wait(self.avatar.bind(self, ask.resource), self._bound, self._bindFailed)

    def _bound(self, session: ISession) -> None:
        if self.machine is None or self._over:
            session.streamLost()
            return
        self._perform(self.machine.bound(session.jid))
        self._attach(session)

    def _bindFailed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, StanzaError):
            self._fault(failure)
        elif self.machine is not None:
            self._perform(self.machine.bindFailed(error))

    def _resume(self, ask: events.Resume) -> None:
        self._wait(self.avatar.resume(self, ask.previd, ask.h), self._resumed, self._resumeFailed)

    def _resumed(self, session: ISession) -> None:
        if self.machine is None or self._over:
            session.streamLost()
            return
        self._perform(self.machine.resumed(session.jid))
        self._attach(session)

    def _resumeFailed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, ResumeFailed):
            self._fault(failure)
        elif self.machine is not None:
            self._perform(self.machine.resumeFailed(error.condition, error.h))

    def _attach(self, session: ISession) -> None:
        """Negotiation is over: keep what a bound stream needs and nothing else."""
        self.session = session
        self.machine = self.avatar = None
        self.factory.bound(self)

    # -- the end --------------------------------------------------------------------------

    def _closing(self, ask: events.Close) -> None:
        """The machine has said its last word."""
        self._end()
        self._letGo(ask.expected)

    def _finish(self, error: StreamError | None, expected: bool) -> None:
        """Say our last words; `expected`: nothing that the peer still says matters."""
        if self._over:
            return
        if self.machine is not None:
            self._perform(self.machine.fail(error) if error is not None else self.machine.close(expected))
            return
        self.send((TCP.error(error) if error is not None else b"") + TCP.footer())
        self._end()
        self._letGo(expected)

    def _giveUp(self, error: StreamError | None) -> None:
        """End the stream for a reason that its session does not know yet."""
        session, self.session = self.session, None
        self._finish(error, True)
        if session is not None:
            self._guard(session.streamLost)

    def _end(self) -> None:
        """Nothing is taken from the input any more."""
        self._over = True
        self._fast = self.session = self.machine = self._input = None

    def _letGo(self, expected: bool) -> None:
        """Close the connection, so that the peer gets what was said before (RFC 6120 4.4)."""
        settings = self.factory.settings
        self.flush()
        if self.transport is None:
            return
        if not expected:
            self.factory.closing(self, settings.closingDeadline)
            return
        if self.parser is not None:
            self.parser.close()
        self.parser = None
        self.factory.closing(self, settings.errorDeadline)
        if carrier(self.transport) is self.transport and not self.transport.TLS:
            # Closing a socket with input unread would reset it, and the peer might not read why.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _awaitEnd(self, data: bytes) -> None:
        """We have closed our stream: all that counts is that the peer closes its own."""
        if self.parser is None or self.transport is None:
            return
        for item, _ in self.parser.feed(data):
            if isinstance(item, StreamEnd | ParseError):
                self.transport.loseConnection()

    def overflow(self) -> None:
        """The peer does not read (architecture, section 4: back-pressure)."""
        self._giveUp(StreamError("resource-constraint", "too much is waiting to be read"))

    def _fault(self, failure: Failure) -> None:
        """An exception escaped: a stream error if it is one, else ours, logged once."""
        error = failure.value
        if not isinstance(error, StreamError):
            incident = secrets.token_hex(4)
            _log.failure("incident {incident}: stream {id} of {peer} failed", failure, incident=incident, id=self.id,
                         peer=self.peer)  # fmt: skip
            error = StreamError("internal-server-error", f"incident {incident}")
        self._giveUp(error)

    def _guard(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            _log.failure("stream {id} of {peer}: failure at its end", id=self.id, peer=self.peer)

    # -- what the factory's sweep calls ---------------------------------------------------

    def expire(self) -> bool:
        """A deadline has passed; True if there is nothing left to wait for."""
        transport: Any = self.transport
        if transport is None:
            return True
        if not self._over:
            self._giveUp(StreamError("connection-timeout"))
            return False
        connection = carrier(transport)
        if connection is None or connection.disconnecting or unsent(connection):
            transport.abortConnection()
            return True
        connection.loseConnection()  # type: ignore[no-untyped-call]
        self.factory.closing(self, 1.0)
        return False

    def probe(self) -> None:
        """The peer has been silent: ask for a sign of life (RFC 6120 4.6)."""
        session = self.session
        if session is None:
            return
        if IProbingSession.providedBy(session):
            self._guard(session.probe)
        else:
            # White space shows a dead connection, if not a broken stream.
            self.quiet = 0
            self.send(b" ")

    def timeOut(self) -> None:
        """The peer did not answer `probe`."""
        self._giveUp(StreamError("connection-timeout"))

    def shutDown(self) -> None:
        """The server stops: last words of the session, then ours."""
        session = self.session
        if session is not None and IClosingSession.providedBy(session):
            self._guard(session.prepareShutdown)
        self._giveUp(StreamError("system-shutdown"))


_PERFORM: dict[type, Callable[[StreamDriver, Any], None]] = {
    events.StartTLS: StreamDriver._startTLS,
    events.Restart: StreamDriver._restart,
    events.FetchSecrets: StreamDriver._fetchSecrets,
    events.Login: StreamDriver._login,
    events.PreAuth: StreamDriver._preAuth,
    events.Bind: StreamDriver._bind,
    events.Resume: StreamDriver._resume,
    events.Close: StreamDriver._closing,
}
