"""Connecting to a target: the race of RFC 8305 by a clock, and real connections on loopback."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.edge.s2s.names import TableNames, records
from xmppservice.edge.s2s.dialler import MAX_ADDRESSES, DialFailed, Dialler
from xmppservice.edge.s2s.networks import PRIVATE
from xmppservice.edge.s2s.questions import AAAA, A, Answer
from xmppservice.edge.s2s.targets import Target

TARGET = Target("a.test", 5269)
FACTORY = Factory.forProtocol(Protocol)
SIX, FOUR = ("2001:db8::1", "2001:db8::2"), ("192.0.2.1", "192.0.2.2")


class RaceTests(SynchronousTestCase):
    """Who is tried when; connections are made and refused by hand."""

    def setUp(self) -> None:
        """A clock, and names with two addresses of each kind."""
        self.clock: Any = MemoryReactorClock()
        self.names = TableNames({("a.test", AAAA): list(SIX), ("a.test", A): list(FOUR)})
        self.refuse: tuple[Any, ...] = ()

    def dial(self, target: Target = TARGET) -> Deferred[Any]:
        """Begin."""
        return Dialler(self.clock, self.names, self.refuse).dial(target, FACTORY)

    def tried(self) -> list[str]:
        """The addresses that were tried so far, in order."""
        return [each[0] for each in self.clock.tcpClients]

    def refused(self, number: int) -> None:
        """Let a try fail."""
        connector, factory = self.clock.connectors[number], self.clock.tcpClients[number][2]
        factory.clientConnectionFailed(connector, Failure(Refused()))

    def connected(self, number: int) -> Any:
        """Let a try succeed."""
        protocol = self.clock.tcpClients[number][2].buildProtocol(None)
        protocol.makeConnection(StringTransport())
        return protocol

    def test_turns(self) -> None:
        """IPv6 first, the families take turns, a quarter of a second apart."""
        self.dial()
        expected = [SIX[0], FOUR[0], SIX[1], FOUR[1]]
        for number in range(4):
            self.assertEqual(self.tried(), expected[: number + 1])
            self.clock.advance(0.24)
            self.assertEqual(len(self.tried()), number + 1)
            self.clock.advance(0.02)
        self.assertEqual(self.tried(), expected)

    def test_failureIsFaster(self) -> None:
        """A try that fails makes the next begin at once, and the quarter of a second anew."""
        result = self.dial()
        self.clock.advance(0.2)
        self.refused(0)
        self.assertEqual(self.tried(), [SIX[0], FOUR[0]])
        self.clock.advance(0.2)
        self.assertEqual(len(self.tried()), 2)
        for number in range(1, 4):
            self.refused(number)
        error = self.failureResultOf(result, DialFailed).value
        self.assertEqual(len(error.reasons), 4)
        self.assertIn("connection refused by 192.0.2.1 port 5269", str(error))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_winner(self) -> None:
        """The first connection wins, even one that began later; the others stop, and one that came too late is cut."""
        result = self.dial()
        self.clock.advance(0.25)
        connecting = self.clock.connectors[0]
        self.connected(1)
        self.assertIsInstance(self.successResultOf(result), Protocol)
        self.assertTrue(connecting.stoppedConnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.tried()), 2)

    def test_slowSix(self) -> None:
        """IPv4 waits 50 ms for an answer about IPv6, no longer; what then comes is tried too (RFC 8305 3)."""
        late: Deferred[Answer] = Deferred()
        self.names.table["a.test", AAAA] = late
        self.dial()
        self.clock.advance(0.04)
        self.assertEqual(self.tried(), [])
        self.clock.advance(0.02)
        self.assertEqual(self.tried(), [FOUR[0]])
        late.callback(records(AAAA, *SIX))
        self.assertEqual(self.tried(), [FOUR[0]])
        self.clock.advance(0.25)
        self.assertEqual(self.tried(), [FOUR[0], SIX[0]])

    def test_verySlowSix(self) -> None:
        """Addresses that come when everything else has had its turn are tried at once."""
        late: Deferred[Answer] = Deferred()
        self.names.table.update({("a.test", AAAA): late, ("a.test", A): [FOUR[0]]})
        self.dial()
        self.clock.advance(0.06)
        self.clock.advance(0.5)
        late.callback(records(AAAA, *SIX))
        self.assertEqual(self.tried(), [FOUR[0], SIX[0]])

    def test_lastHope(self) -> None:
        """If all of one family has failed, an answer about the other that is still due is waited for."""
        late: Deferred[Answer] = Deferred()
        self.names.table["a.test", AAAA] = late
        result = self.dial()
        self.clock.advance(0.06)
        self.refused(0)
        self.refused(1)
        self.assertNoResult(result)
        late.callback(records(AAAA, SIX[0]))
        self.connected(2)
        self.successResultOf(result)

    def test_quickSix(self) -> None:
        """An answer within the 50 ms begins the race at once."""
        late: Deferred[Answer] = Deferred()
        self.names.table["a.test", AAAA] = late
        self.dial()
        late.callback(records(AAAA, *SIX))
        self.assertEqual(self.tried(), [SIX[0]])

    def test_noAddress(self) -> None:
        """A name without addresses, or one nobody could look up, is said to be that."""
        self.names.table = {}
        self.assertEqual(str(self.failureResultOf(self.dial(), DialFailed).value), "a.test has no address")
        self.names.table = {("a.test", A): "the name server 192.0.2.53 did not answer in time"}
        error = self.failureResultOf(self.dial(), DialFailed).value
        self.assertEqual(error.reasons, ("the name server 192.0.2.53 did not answer in time",))

    def test_bounded(self) -> None:
        """Eight addresses, and thirty seconds."""
        self.names.table["a.test", A] = [f"192.0.2.{number}" for number in range(100)]
        result = self.dial()
        for _ in range(200):
            self.clock.advance(0.16)
        self.assertEqual(len(self.tried()), MAX_ADDRESSES)
        self.assertIn("timed out", str(self.failureResultOf(result, DialFailed).value))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slowNames(self) -> None:
        """The thirty seconds hold for the look-up too."""
        self.names.table = {("a.test", kind): Deferred() for kind in (A, AAAA)}
        result = self.dial()
        self.clock.advance(31)
        self.assertIn("timed out", str(self.failureResultOf(result, DialFailed).value))

    def test_cancelled(self) -> None:
        """Everything stops, looking up and connecting."""
        for table in ({("a.test", kind): Deferred() for kind in (A, AAAA)}, dict(self.names.table)):
            self.names.table = table
            result = self.dial()
            result.cancel()
            self.failureResultOf(result, CancelledError)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.clock.connectors[0].stoppedConnecting)

    def test_refusedNetworks(self) -> None:
        """Addresses behind the operator's walls are not tried, however they are written (S10)."""
        self.refuse = PRIVATE
        bad = ["::1", "::ffff:127.0.0.1", "fe80::1"]
        self.names.table = {("a.test", AAAA): bad, ("a.test", A): ["127.0.0.1", "169.254.0.1"]}
        error = self.failureResultOf(self.dial(), DialFailed).value
        self.assertIn("127.0.0.1 is in a network that federation refuses", error.reasons)
        self.assertEqual(len(error.reasons), 5)
        for host in ("127.0.0.1", "::1", "::ffff:10.0.0.1"):
            self.failureResultOf(self.dial(Target(host, 5269)), DialFailed)
        self.assertEqual(self.tried(), [])
        self.names.table["a.test", A] = ["127.0.0.1", "8.8.8.8"]
        self.dial()
        self.assertEqual(self.tried(), ["8.8.8.8"])
        # What the operator chose is meant so.
        self.dial(Target("127.0.0.1", 5269, chosen=True))
        self.assertEqual(self.tried(), ["8.8.8.8", "127.0.0.1"])


class LoopbackTests(TestCase):
    """Real sockets."""

    def listen(self, host: str = "127.0.0.1") -> int:
        """A server that is silent; its port."""
        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface=host)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    @inlineCallbacks
    def test_connects(self) -> Any:
        """To a name whose IPv6 address does not answer, and to a literal address."""
        port = self.listen()
        names = TableNames({("a.test", A): ["127.0.0.1"], ("a.test", AAAA): ["::1"]})
        for host in ("a.test", "127.0.0.1"):
            protocol = yield Dialler(reactor, names).dial(Target(host, port), FACTORY)
            self.assertEqual(protocol.transport.getPeer().host, "127.0.0.1")
            protocol.transport.abortConnection()

    @inlineCallbacks
    def test_refused(self) -> Any:
        """In plain words."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            dialling = Dialler(reactor, TableNames({})).dial(Target("127.0.0.1", port), FACTORY)
            error = yield self.assertFailure(dialling, DialFailed)
        self.assertEqual(str(error), f"connection refused by 127.0.0.1 port {port}")
