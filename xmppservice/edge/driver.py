"""`StreamDriver`: one XML stream on one connection.

Theory of operation. Until a session is bound, items of the parser go to the stream's
`Negotiation`. Where an answer has to be waited for, `_halt` is not zero: nothing is taken
from the input then, and more data only waits (and stops the reading). Input that waits
lives in `_Input`, together with the raw bytes behind the last item taken: after a restart
those belong to a new parser, and behind ``<starttls/>`` there must be none.

Once a session is bound, `_fast` is that session, and `dataReceived` hands it each element
without any of the above. `_fast` is None again while the stream is paused, and for good
once it is over: that one attribute is all the hot path looks at.

A stream ends in one of three ways: the peer closes it, we close it, or the connection is
lost. `_over` is set at the first; what is left is to see the connection closed, which
the factory's sweep enforces (`edge.factory`).

What comes in is counted against budgets (`edge.rates`). A stream that is over its budget rests:
its transport is not read, what was read already waits in `_input`, and a timer ends the rest.
No other connection owns a timer.
"""

from __future__ import annotations

import secrets
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IProtocol, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.edge.rates import DELIVERY, FREE, GRAIN, STANZA, Meter
from xmppservice.edge.writer import Outlet, carrier, unsent
from xmppservice.hub.contracts.stream import IClosingSession, IProbingSession, ISession, IStream
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream.base import parseFailure
from xmppservice.protocol.stream.framing import TCP
from xmppservice.wire.element import Element
from xmppservice.wire.parser import Item, Limits, ParseError, StreamEnd, StreamParser

if TYPE_CHECKING:
    from xmppservice.edge.factory import StreamFactory
    from xmppservice.edge.negotiation import Negotiation

_log = Logger()

Answered = TypeVar("Answered")


class _Input:
    """What has arrived and was not taken yet."""

    __slots__ = ("busy", "data", "end", "items", "late", "stopped")

    def __init__(self) -> None:
        self.items: deque[tuple[Item, int]] = deque()
        self.data = b""
        self.end = 0
        self.late: list[bytes] = []
        self.busy = False
        self.stopped = False


@implementer(IProtocol, IHalfCloseableProtocol, IStream)
class StreamDriver(Outlet):
    """One stream: a Twisted protocol to its transport, an IStream to its session."""

    __slots__ = (
        "_credit",
        "_deliveries",
        "_fast",
        "_halt",
        "_input",
        "_logout",
        "_meter",
        "_over",
        "_resting",
        "_slowed",
        "_stanzas",
        "factory",
        "id",
        "negotiation",
        "parser",
        "peer",
        "quiet",
        "secure",
        "session",
    )

    def __init__(self, factory: StreamFactory) -> None:
        super().__init__(factory.writer, factory.settings.outgoing)
        self.factory = factory
        self.id = ""
        self.peer = ""
        self.secure = False
        #: Sweeps since anything was read; see `StreamFactory`.
        self.quiet = 0
        self.session: ISession | None = None
        self.negotiation: Negotiation | None = None
        self.parser: StreamParser | None = None
        self._fast: ISession | None = None
        self._halt = 0
        self._input: _Input | None = None
        self._logout: Callable[[], object] | None = None
        self._over = False
        #: Budgets, None if nothing limits this stream; what is left of the grain, and what it was used for.
        self._meter: Meter | None = None
        self._credit = FREE
        self._stanzas = self._deliveries = 0
        self._resting: IDelayedCall | None = None
        self._slowed = False

    # -- the transport speaks -------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """A connection is there; direct TLS may still have its handshake to do."""
        self.openOutlet(transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        """Begin to negotiate."""
        transport = self.transport
        settings = self.factory.settings
        self.peer = str(getattr(transport.getPeer(), "host", ""))
        connection = carrier(transport)
        if connection is not None:
            connection.setTcpNoDelay(True)
            if settings.keepAlive:
                connection.setTcpKeepAlive(True)
        self.negotiation = self.factory.negotiate(self, ISSLTransport.providedBy(transport))
        self.parser = StreamParser(settings.preAuth)
        self._input = _Input()
        self.factory.connected(self)
        self.setMeter(self.factory.meterFor(self.peer))

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
                found = self.parser.feed(data)  # type: ignore[union-attr]
                self._stanzas += (count := len(found))
                self._credit -= len(data) + count * STANZA
                items = iter(found)
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
                self.fault(Failure())
        if self._credit < 0:
            self._account()
        writer.endTurn()

    def readConnectionLost(self) -> None:
        """The peer closed its half: more will not come, but it may still read (RFC 6120 4.4)."""
        self._giveUp(None)
        if self.transport is not None:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed, as we asked."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._takeLast()
        session, logout = self.session, self._logout
        if session is not None:
            self.factory.report.lost(self, session)
        elif self.negotiation is not None:
            self.negotiation.lost(reason)
        self._end()
        if self.parser is not None:
            self.parser.close()
        self.parser = self._logout = None
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

    def admit(self) -> None:
        """The peer is known now (IStream.admit)."""
        if self.parser is not None:
            self.parser.limits = self.factory.settings.authenticated
        self.factory.admitted(self)

    def charge(self, deliveries: int) -> None:
        """The stanza that is being taken goes to so many (IStream.charge)."""
        self._deliveries += deliveries
        self._credit -= deliveries * DELIVERY
        if self._credit < 0:
            self._account()

    # -- what a negotiation does with its driver ------------------------------------------

    def hold(self) -> None:
        """An answer is due: take nothing from the input."""
        self._halt += 1

    def answered(self, result: Answered) -> Answered:
        """The answer is there: what is said because of it is gathered as in a read turn."""
        self.writer.reading = True
        return result

    def release(self) -> None:
        """What the answer asked for is done."""
        self._halt -= 1
        if self._input is None or not self._input.busy:
            self._proceed()

    def remainder(self) -> bytes:
        """What was received behind the item that is being taken."""
        waiting = self._input
        assert waiting is not None
        return waiting.data[waiting.end :] + b"".join(waiting.late)

    def restart(self, limits: Limits) -> None:
        """A new stream on the same connection: a new parser gets the remainder (RFC 6120 4.3.3)."""
        waiting = self._input
        assert waiting is not None
        remainder = self.remainder()
        waiting.items.clear()
        waiting.data, waiting.end = b"", 0
        waiting.late = [remainder] if remainder else []
        if self.parser is not None:
            self.parser.close()
        self.parser = StreamParser(limits)

    def identify(self) -> None:
        """The first bytes have come; behind a proxy only now the peer's address is known."""
        address = str(getattr(self.transport.getPeer(), "host", ""))
        if address != self.peer:
            self.factory.moved(self, address)

    def setLogout(self, logout: Callable[[], object]) -> None:
        """Call this once when the connection is gone."""
        self._logout = logout

    def attach(self, session: ISession) -> None:
        """Negotiation is over: keep what a bound stream needs and nothing else."""
        self.session = session
        self.negotiation = None
        self.factory.bound(self)

    # -- input that cannot be taken at once -----------------------------------------------

    def _received(self, data: bytes) -> None:
        if self._over:
            self._awaitEnd(data)
            return
        if self.negotiation is not None:
            self.negotiation.begin()
        if self._input is None:
            self._input = _Input()
        waiting = self._input
        waiting.late.append(data)
        self._credit -= len(data)
        if not self._halt:
            self._pump()
        elif not waiting.stopped:
            waiting.stopped = True
            self.transport.pauseProducing()

    def _keep(self, items: Iterator[tuple[Item, int]]) -> None:
        """The session paused in the midst of a read: the rest waits."""
        rest = () if self._over else tuple(items)
        if rest:
            if self._input is None:
                self._input = _Input()
            self._input.items.extend(rest)

    def _proceed(self) -> None:
        """Go on after a pause, and flush what comes of it."""
        self.writer.reading = True
        if not self._halt:
            self._pump()
        if self._credit < 0:
            self._account()
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
            self.fault(Failure())
        waiting.busy = False
        if self._halt or self._over:
            return
        if waiting.stopped:
            waiting.stopped = False
            self.transport.resumeProducing()
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
            found = self.parser.feed(waiting.data)
            self._stanzas += len(found)
            self._credit -= len(found) * STANZA
            waiting.items.extend(found)
            return True
        item, waiting.end = waiting.items.popleft()
        if self.negotiation is not None:
            self.negotiation.take(item)
        elif self.session is not None and isinstance(item, Element):
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
            if session is not None:
                # Its last words, such as an acknowledgement, belong before the footer.
                self._guard(session.streamClosed)
            self._finish(None, True, session)
        else:
            self._giveUp(StreamError("invalid-xml", "a stream has one header"))

    # -- rates ----------------------------------------------------------------------------

    @property
    def halted(self) -> bool:
        """Whether nothing is taken from the input, for whatever reason: silence is not the peer's fault then."""
        return self._halt > 0

    def setMeter(self, meter: Meter | None) -> None:
        """Count against these budgets from now on."""
        self._meter = meter
        self._credit = FREE if meter is None else GRAIN
        self._stanzas = self._deliveries = 0
        if meter is not None:
            # Whoever left a debt behind does not get rid of it by connecting again.
            self._rest(meter.take())

    def _use(self) -> float:
        """Take from the budgets what has come together; returns for how long to rest."""
        meter, stanzas, deliveries = self._meter, self._stanzas, self._deliveries
        used = GRAIN - self._credit - stanzas * STANZA - deliveries * DELIVERY
        self._credit, self._stanzas, self._deliveries = FREE if meter is None else GRAIN, 0, 0
        return 0.0 if meter is None else meter.take(used, stanzas, deliveries)

    def _account(self) -> None:
        """A grain is used up."""
        self._rest(self._use())

    def _rest(self, seconds: float) -> None:
        """Read and take nothing for a while; TCP slows the peer."""
        if seconds <= 0 or self._over or self._resting is not None or self.transport is None:
            return
        factory = self.factory
        factory.throttled += 1
        if not self._slowed:
            self._slowed = True
            factory.report.slowed(self, self.session)
        self._halt += 1
        self._fast = None
        if self._input is None:
            self._input = _Input()
        if not self._input.stopped:
            self._input.stopped = True
            self.transport.pauseProducing()
        self._resting = factory.clock.callLater(seconds, self._rested)

    def _rested(self) -> None:
        """The debt should be paid; but others may have used up the address's budget meanwhile."""
        self._resting = None
        self._halt -= 1
        self.quiet = 0
        self._rest(self._use())
        self._proceed()

    def _takeLast(self) -> None:
        """The connection is lost: what was read before a rest counts as said; the address pays for all of it."""
        if self._resting is not None and not self._over:
            self._resting.cancel()
            self._resting = None
            self._halt -= 1
            self._proceed()
        self._use()

    # -- the end --------------------------------------------------------------------------

    def _finish(self, error: StreamError | None, expected: bool, session: ISession | None = None) -> None:
        """Say our last words; `expected`: nothing that the peer still says matters; `session`: whose stream it was."""
        if self._over:
            return
        if self.negotiation is not None:
            if error is not None:
                self.negotiation.fail(error)
            else:
                self.negotiation.close(expected)
            return
        self.factory.report.ended(self, self.session or session, error)
        self.send((TCP.error(error) if error is not None else b"") + TCP.footer())
        self.letGo(expected)

    def _giveUp(self, error: StreamError | None) -> None:
        """End the stream for a reason that its session does not know yet."""
        session, self.session = self.session, None
        self._finish(error, True, session)
        if session is not None:
            self._guard(session.streamLost)

    def _end(self) -> None:
        """Nothing is taken from the input any more."""
        self._over = True
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if self.negotiation is not None:
            self.negotiation.over = True
        self._fast = self.session = self.negotiation = self._input = None

    def letGo(self, expected: bool) -> None:
        """All is said: let the peer read it, then close the connection (RFC 6120 4.4)."""
        stopped = self._input is not None and self._input.stopped
        self._end()
        settings = self.factory.settings
        self.flush()
        # Behind the footer there is nothing more to say.
        self.pieces = None
        transport = self.transport
        if transport is None:
            return
        if stopped:
            transport.resumeProducing()
        if not expected:
            self.factory.closing(self, settings.closingDeadline)
            return
        if self.parser is not None:
            self.parser.close()
        self.parser = None
        self.factory.closing(self, settings.errorDeadline)
        connection = carrier(transport)
        if connection is not None and connection is transport and not connection.TLS:
            # Closing a socket with input unread would reset it, and the peer might not read why.
            connection.loseWriteConnection()
        else:
            transport.loseConnection()

    def _awaitEnd(self, data: bytes) -> None:
        """We have closed our stream: all that counts is that the peer closes its own."""
        if self.parser is None or self.transport is None:
            return
        for item, _ in self.parser.feed(data):
            if isinstance(item, StreamEnd | ParseError):
                self.transport.loseConnection()

    def overflow(self) -> None:
        """The peer does not read (architecture, section 4: back-pressure)."""
        self.outgoing = sys.maxsize
        self._giveUp(StreamError("resource-constraint", "too much is waiting to be read"))

    def fault(self, failure: Failure) -> None:
        """An exception escaped: a stream error if it is one, else ours, logged once."""
        error = failure.value
        if not isinstance(error, StreamError):
            incident = secrets.token_hex(4)
            _log.failure(
                "incident {incident}: stream {id} of {peer} failed",
                failure,
                incident=incident,
                id=self.id,
                peer=self.peer,
            )
            error = StreamError("internal-server-error", f"incident {incident}")
        self._giveUp(error)

    def _guard(self, call: Callable[[], object]) -> object:
        try:
            return call()
        except Exception:
            _log.failure("stream {id} of {peer}: failure at its end", id=self.id, peer=self.peer)
            return None

    # -- what the factory's sweep calls ---------------------------------------------------

    def expire(self) -> None:
        """A deadline has passed: end what has not ended."""
        transport = self.transport
        if transport is None:
            return
        if not self._over:
            self._giveUp(StreamError("connection-timeout"))
            return
        connection = carrier(transport)
        if connection is None or connection.TLS or connection.disconnecting or unsent(connection):
            transport.abortConnection()
        else:
            connection.loseConnection()
            self.factory.closing(self, 1.0)

    def sleep(self) -> None:
        """Nothing was read for a while: let the parser give back its memory until something is."""
        if self.parser is not None and self._fast is not None:
            self.parser.sleep()

    def probe(self) -> None:
        """The peer has been silent: ask for a sign of life (RFC 6120 4.6)."""
        session = self.session
        if session is None:
            return
        due = False
        if IProbingSession.providedBy(session):
            due = bool(self._guard(session.probe))
        else:
            # White space shows a dead connection, if not a broken stream.
            self.send(b" ")
        if not due:
            self.quiet = 0

    def timeOut(self) -> None:
        """The peer did not answer `probe`."""
        self._giveUp(StreamError("connection-timeout"))

    def shutDown(self) -> None:
        """The server stops: last words of the session, then ours."""
        session = self.session
        if session is not None and IClosingSession.providedBy(session):
            self._guard(session.prepareShutdown)
        self._giveUp(StreamError("system-shutdown"))
