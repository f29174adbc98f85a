"""Events handed out without Twisted's log context: the same calls, and faults that reach nobody else."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.edge.polling import pollPlainly


class Reader:
    """A descriptor that notes what is asked of it; `fault` is raised instead of reading."""

    def __init__(self, end: socket.socket, fault: BaseException | None = None) -> None:
        self.end = end
        self.fault = fault
        self.read: list[bytes] = []
        self.lost: list[Any] = []

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self.end.fileno()

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "reader"

    def doRead(self) -> None:
        """See `IReadDescriptor`."""
        if self.fault is not None:
            raise self.fault
        self.read.append(self.end.recv(100))

    def connectionLost(self, reason: Any) -> None:
        """See `IFileDescriptor`."""
        self.lost.append(reason)


class PollingTests(SynchronousTestCase):
    """A reactor of our own, and pairs of sockets."""

    def setUp(self) -> None:
        """The reactor is never run; only its iterations are."""
        self.reactor: Any = EPollReactor()
        self.addCleanup(self.reactor._poller.close)
        self.assertTrue(pollPlainly(self.reactor))

    def reader(self, fault: BaseException | None = None) -> tuple[socket.socket, Reader]:
        """A watched socket, and the other end of it."""
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        reader = Reader(near, fault)
        self.reactor.addReader(reader)
        return far, reader

    def test_reads(self) -> None:
        """Who has something to read is told, who has not is not; a time without events is no error."""
        far, reader = self.reader()
        _, silent = self.reader()
        self.reactor.doIteration(0)
        self.assertEqual(reader.read, [])
        far.send(b"x")
        self.reactor.doIteration(None)
        self.assertEqual((reader.read, silent.read), ([b"x"], []))

    def test_hangUp(self) -> None:
        """A connection that has gone is reported lost, once, and is watched no more."""
        far, reader = self.reader()
        reader.doRead = lambda: ConnectionError("gone")  # type: ignore[method-assign, assignment, return-value]
        far.close()
        self.reactor.doIteration(None)
        self.reactor.doIteration(0)
        self.assertEqual(len(reader.lost), 1)

    def test_fault(self) -> None:
        """A read that raises is logged, costs its own connection, and keeps no other event from being served."""
        farBad, bad = self.reader(RuntimeError("injected"))
        farGood, good = self.reader()
        farBad.send(b"x")
        farGood.send(b"y")
        self.reactor.doIteration(None)
        self.assertEqual(good.read, [b"y"])
        self.assertEqual(len(bad.lost), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_faultBeyond(self) -> None:
        """What even that lets through, a failure of the end of a connection, is logged too."""
        farBad, bad = self.reader(RuntimeError("injected"))
        farGood, good = self.reader()

        def failing(reason: Any) -> None:
            raise ZeroDivisionError

        bad.connectionLost = failing  # type: ignore[method-assign]
        farBad.send(b"x")
        farGood.send(b"y")
        self.reactor.doIteration(None)
        self.assertEqual(good.read, [b"y"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_otherReactors(self) -> None:
        """A reactor of another kind stays as it is."""
        reactor: Any = SelectReactor()
        before = reactor.doIteration
        self.assertFalse(pollPlainly(reactor))
        self.assertEqual(reactor.doIteration, before)
