"""Gathered writing: the one file that knows the inside of Twisted's transports.

Theory of operation. `Outlet.send` appends to a list and, if the list was empty, puts the
outlet into the writer's dirty list: nothing else happens per stanza. Once per pass of the
reactor the writer joins each dirty outlet's pieces and writes them once. (Measured with
`benchmarks/micro_edge.py` against flushing after each read: chat 9 against 10 µs a message,
20 against 25 with one message in flight, presence of ten at a time 2 against 7.)

A plain TCP transport with nothing pending is written to with `socket.send` at once: the
transport's own `write` would only arm epoll and send in the next pass, which costs three
system calls more for the same bytes. What the kernel does not take goes to the transport.
The TLS layer of `edge.tls` hands its ciphertext to `sendNow`, the same short cut.

Bytes count as sent when the kernel has them. The transport tells nobody that its buffer
has drained except a producer, so an outlet registers one while callbacks of `afterFlush`
wait, and only then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IDelayedCall, IPullProducer, IReactorTime
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

_log = Logger()

_PASSING = (EPollReactor, PollReactor, SelectReactor)
"""Reactors whose loop is: queued calls, timers, wait, reads and writes."""

Callback = Callable[[], object]


def carrier(transport: object) -> Connection | None:
    """The TCP connection under `transport`, through wrappers such as TLS; None in memory."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, Connection) else None


def unsent(connection: Connection) -> int:
    """Bytes that were written to a connection and are not in the kernel yet."""
    return len(connection.dataBuffer) - connection.offset + connection._tempDataLen


def sendNow(connection: Connection, data: bytes) -> None:
    """Write to a connection, without the round trip through epoll if nothing is pending."""
    if connection.dataBuffer or connection._tempDataLen or connection.disconnecting or not connection.connected:
        connection.write(data)
        return
    try:
        taken = connection.socket.send(data)
    except OSError:
        # Full, or broken: the transport finds out which, and reports it in the usual way.
        taken = 0
    if taken != len(data):
        connection.write(data[taken:])


@implementer(IPullProducer)
class _Drain:
    """Waits until a connection's buffer is empty, then runs callbacks."""

    __slots__ = ("_armed", "_outlet", "callbacks")

    def __init__(self, outlet: Outlet) -> None:
        self.callbacks: list[Callback] = []
        self._outlet = outlet
        self._armed = False

    def start(self, connection: Connection) -> None:
        """Registering asks for data at once; only the next request means drained."""
        connection.registerProducer(self, False)
        self._armed = True

    def resumeProducing(self) -> None:
        """The buffer is empty (or this is the request at registration)."""
        if self._armed:
            self._outlet.drained()

    def stopProducing(self) -> None:
        """The connection is lost, and with it what was unsent."""
        self.callbacks = []


class GatheredWriter:
    """The dirty outlets of one reactor.

    Whoever reads a socket sets `reading`, does its work, and calls `endTurn`. With a reactor of
    Twisted's own kind all outlets are then flushed once per pass: after the reads of this pass and
    before the next wait. That joins what several readers send to one outlet, and the reactor's
    queue of calls is the cheapest way to get there, five times cheaper than a timer. It may be used
    while reading only, because what is put there later would wait for the next event. With any
    other clock (asyncio, a test's) a turn is flushed at its end. Sends from elsewhere (a timer, a
    committed ticket) are flushed by a timer of no delay.
    """

    __slots__ = ("_clock", "_queue", "_queued", "_scheduled", "dirty", "onPass", "reading")

    def __init__(self, clock: IReactorTime) -> None:
        self.dirty: list[Outlet] = []
        self.reading = False
        self._clock = clock
        self._queue: list[Any] | None = clock.threadCallQueue if isinstance(clock, _PASSING) else None
        self._queued = False
        self._scheduled: IDelayedCall | None = None
        #: Called before the flush that ends a pass: whoever has something to say joins it.
        self.onPass: Callable[[], object] = _nothing

    def schedule(self) -> None:
        """Flush in the next pass of the reactor."""
        if self._scheduled is None and not self._queued:
            self._scheduled = self._clock.callLater(0, self._later)

    def endTurn(self) -> None:
        """A read turn is over: see that what is gathered is written, once per outlet."""
        self.reading = False
        if self.dirty and not self._queued:
            if self._queue is None:
                self.flush()
            else:
                self._queued = True
                self._queue.append((self._passed, (), {}))

    def flush(self) -> None:
        """Write what is gathered, now."""
        self.reading = False
        dirty = self.dirty
        while dirty:
            self.dirty = []
            for outlet in dirty:
                outlet.flush()
            dirty = self.dirty

    def _passed(self) -> None:
        self._queued = False
        self.reading = True
        self.onPass()
        self.flush()

    def _later(self) -> None:
        self._scheduled = None
        self.flush()


class Outlet:
    """One connection's way out: what a session sees as `IStream.send` and `afterFlush`."""

    __slots__ = ("_callbacks", "_connection", "_drain", "_plain", "outgoing", "pieces", "transport", "writer")

    def __init__(self, writer: GatheredWriter, outgoing: int) -> None:
        self.writer = writer
        self.outgoing = outgoing
        self.transport: Any = None
        self.pieces: list[bytes] | None = None
        self._connection: Connection | None = None
        self._plain = False
        self._callbacks: list[Callback] | None = None
        self._drain: _Drain | None = None

    def openOutlet(self, transport: Any) -> None:
        """Write to `transport` from now on; again after TLS has been put on top."""
        self.transport = transport
        connection = self._connection = carrier(transport)
        self._plain = connection is not None and transport is connection and not connection.TLS
        if self.pieces is None:
            self.pieces = []

    def closeOutlet(self) -> None:
        """The connection is lost, or must get no more: drop everything."""
        self.pieces = self._callbacks = self._drain = self._connection = None
        self._plain = False

    def send(self, data: bytes) -> None:
        """Queue bytes for the end of the read turn (IStream.send)."""
        pieces = self.pieces
        if pieces:
            pieces.append(data)
        elif pieces is not None:
            pieces.append(data)
            writer = self.writer
            writer.dirty.append(self)
            if not writer.reading:
                writer.schedule()

    def afterFlush(self, callback: Callback) -> None:
        """Call back when all that was sent so far is in the kernel (IStream.afterFlush)."""
        if self.pieces is None:
            return
        if self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)
        if not self.pieces:
            self.writer.dirty.append(self)
            if not self.writer.reading:
                self.writer.schedule()

    def flush(self) -> None:
        """Write what is gathered."""
        pieces = self.pieces
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            connection = self._connection
            if (
                self._plain
                and not connection.dataBuffer  # type: ignore[union-attr]
                and not connection._tempDataLen  # type: ignore[union-attr]
                and connection.connected  # type: ignore[union-attr]
            ):
                try:
                    taken = connection.socket.send(data)  # type: ignore[union-attr]
                except OSError:
                    taken = 0
                if taken != len(data):
                    connection.write(data[taken:])  # type: ignore[union-attr]
            else:
                self._writeBehind(data)
        if self._callbacks is not None:
            self._settle()

    def _writeBehind(self, data: bytes) -> None:
        """Write through the transport: TLS, memory, or a peer that reads slowly."""
        connection = self._connection
        if connection is not None and unsent(connection) > self.outgoing:
            # A single burst may exceed the cap; what comes on top of it may not, and is not sent.
            self._callbacks = None
            self.overflow()
        elif self.transport is not None:
            self.transport.write(data)

    def _settle(self) -> None:
        callbacks, self._callbacks = self._callbacks, None
        if not callbacks:
            return
        if self._drain is not None:
            self._drain.callbacks += callbacks
        elif self._connection is None or not unsent(self._connection):
            _runAll(callbacks)
        else:
            self._drain = _Drain(self)
            self._drain.callbacks = callbacks
            self._drain.start(self._connection)

    def drained(self) -> None:
        """The connection's buffer is empty again."""
        drain, self._drain = self._drain, None
        if self._connection is not None:
            self._connection.unregisterProducer()
        if drain is not None:
            _runAll(drain.callbacks)

    def overflow(self) -> None:
        """The peer does not read, and more than `outgoing` bytes wait for it."""
        raise NotImplementedError


def _nothing() -> None:
    """Nobody joins the flush."""


def _runAll(callbacks: list[Callback]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:
            _log.failure("a callback after a flush failed")
