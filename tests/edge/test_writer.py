"""Gathered writing: one write per flush, the kernel's word, and the cap on what waits."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.edge.writer import GatheredWriter, Outlet, carrier, sendNow, unsent


class CountingOutlet(Outlet):
    """Counts overflows."""

    def __init__(self, writer: GatheredWriter, outgoing: int = 1000) -> None:
        super().__init__(writer, outgoing)
        self.overflows = 0

    def overflow(self) -> None:
        """Count."""
        self.overflows += 1


class FakeReactor:
    """What a connection asks of its reactor; `pump` lets it write."""

    def __init__(self) -> None:
        self.writers: set[Any] = set()

    def addReader(self, reader: object) -> None:
        """Nothing is read here."""

    def removeReader(self, reader: object) -> None:
        """Nothing is read here."""

    def addWriter(self, writer: object) -> None:
        """Somebody waits for the socket."""
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        """Nobody waits any more."""
        self.writers.discard(writer)

    def pump(self) -> None:
        """As if the socket were writable."""
        for writer in list(self.writers):
            writer.doWrite()


class MemoryTests(SynchronousTestCase):
    """Over a transport in memory."""

    def setUp(self) -> None:
        """An outlet."""
        self.clock = Clock()
        self.writer = GatheredWriter(self.clock)
        self.transport = StringTransport()
        self.outlet = CountingOutlet(self.writer)
        self.outlet.openOutlet(self.transport)

    def test_gathered(self) -> None:
        """In a read turn nothing is written before its end, then all at once."""
        writes: list[bytes] = []
        self.transport.write = writes.append  # type: ignore[method-assign]
        self.writer.reading = True
        self.outlet.send(b"a")
        self.outlet.send(b"b")
        self.assertEqual(writes, [])
        self.writer.flush()
        self.assertEqual(writes, [b"ab"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_outsideAReadTurn(self) -> None:
        """One timer for all outlets, in the next pass."""
        other = CountingOutlet(self.writer)
        other.openOutlet(StringTransport())
        self.outlet.send(b"a")
        other.send(b"b")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual(self.transport.value(), b"a")

    def test_sendDuringFlush(self) -> None:
        """What callbacks send while others are flushed is flushed too."""
        self.writer.reading = True
        self.outlet.send(b"a")
        self.outlet.afterFlush(lambda: self.outlet.send(b"b"))
        self.writer.flush()
        self.clock.advance(0)
        self.assertEqual(self.transport.value(), b"ab")

    def test_afterFlush(self) -> None:
        """Called once, after the write, also when nothing was to be sent."""
        calls: list[bytes] = []
        self.outlet.send(b"a")
        self.outlet.afterFlush(lambda: calls.append(self.transport.value()))
        self.assertEqual(calls, [])
        self.clock.advance(0)
        self.assertEqual(calls, [b"a"])
        self.outlet.afterFlush(lambda: calls.append(b"nothing"))
        self.clock.advance(0)
        self.assertEqual(calls, [b"a", b"nothing"])

    def test_failingCallback(self) -> None:
        """One failing callback does not hurt the next."""
        calls: list[int] = []

        def crash() -> None:
            raise RuntimeError("injected")

        self.outlet.afterFlush(crash)
        self.outlet.afterFlush(lambda: calls.append(1))
        self.clock.advance(0)
        self.assertEqual(calls, [1])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_closed(self) -> None:
        """A closed outlet takes and calls nothing, and flushing it is harmless."""
        self.outlet.send(b"a")
        self.outlet.afterFlush(self.fail)
        self.outlet.closeOutlet()
        self.outlet.send(b"b")
        self.outlet.afterFlush(self.fail)
        self.clock.advance(0)
        self.assertEqual(self.transport.value(), b"")


class SocketTests(SynchronousTestCase):
    """Over a real socket pair, with a reactor that only writes when told to."""

    def setUp(self) -> None:
        """A connected outlet with a small kernel buffer."""
        self.near, self.far = socket.socketpair()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.reactor = FakeReactor()
        self.connection = Connection(self.near, None, self.reactor)  # type: ignore[arg-type]
        self.connection.connected = 1
        self.clock = Clock()
        self.writer = GatheredWriter(self.clock)
        self.outlet = CountingOutlet(self.writer)
        self.outlet.openOutlet(self.connection)

    def tearDown(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()

    def drain(self) -> int:
        """Read all that there is, letting the connection write."""
        total = 0
        self.far.setblocking(False)
        while True:
            try:
                total += len(self.far.recv(1 << 20))
            except BlockingIOError:
                if not self.reactor.writers:
                    return total
                self.reactor.pump()

    def test_sentAtOnce(self) -> None:
        """Without a pass through the reactor when nothing is pending."""
        self.outlet.send(b"hello")
        self.clock.advance(0)
        self.assertEqual(self.far.recv(100), b"hello")
        self.assertEqual(self.reactor.writers, set())
        self.assertIs(carrier(self.connection), self.connection)

    def test_orderWhenTheKernelIsFull(self) -> None:
        """What the kernel does not take waits, and what comes later stays behind it."""
        self.outlet.outgoing = 1 << 30
        self.outlet.send(b"x" * 1_000_000)
        self.clock.advance(0)
        self.assertGreater(unsent(self.connection), 0)
        self.outlet.send(b"y")
        sendNow(self.connection, b"z")
        self.clock.advance(0)
        self.assertEqual(self.drain(), 1_000_002)
        self.assertEqual(unsent(self.connection), 0)

    def test_afterFlushMeansTheKernelHasIt(self) -> None:
        """The callback waits until the last byte is out."""
        calls: list[int] = []
        self.outlet.send(b"x" * 1_000_000)
        self.outlet.afterFlush(lambda: calls.append(unsent(self.connection)))
        self.clock.advance(0)
        self.reactor.pump()
        self.outlet.afterFlush(lambda: calls.append(-1))
        self.clock.advance(0)
        self.assertEqual(calls, [])
        self.drain()
        self.assertEqual(calls, [0, -1])
        self.assertIsNone(self.connection.producer)

    def test_lostBytesAreNotReported(self) -> None:
        """A connection that is lost with bytes unsent never reports them sent."""
        self.outlet.send(b"x" * 1_000_000)
        self.outlet.afterFlush(self.fail)
        self.clock.advance(0)
        producer = self.connection.producer
        assert producer is not None
        producer.stopProducing()
        self.outlet.closeOutlet()
        self.drain()

    def test_cap(self) -> None:
        """One burst may exceed the cap; what comes on top of it may not, and is not sent."""
        self.outlet.send(b"x" * 1_000_000)
        self.clock.advance(0)
        self.assertEqual(self.outlet.overflows, 0)
        self.outlet.send(b"y")
        self.outlet.afterFlush(self.fail)
        self.clock.advance(0)
        self.assertEqual(self.outlet.overflows, 1)
        self.assertEqual(self.drain(), 1_000_000)

    def test_brokenSocket(self) -> None:
        """An error of the socket is left for the transport to find."""
        self.far.close()
        self.outlet.send(b"x")
        self.clock.advance(0)
        self.outlet.send(b"x")
        self.clock.advance(0)
        self.assertEqual(self.reactor.writers, {self.connection})
