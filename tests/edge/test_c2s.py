"""Admission: who may connect at all; what a host offers; the service's ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.edge.doubles import HOST, Peer, TestHost, Transport, boundPeer, header, logIn, provider
from xmppservice.edge.c2s import C2SFactory
from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.factory import Refusal
from xmppservice.edge.service import StreamService
from xmppservice.edge.settings import StreamSettings


def factory(**settings: Any) -> C2SFactory:
    """A factory with one host."""
    return C2SFactory({HOST: TestHost()}.get, HOST, StreamSettings(tls="optional", **settings), Clock())


class AddressedTransport(Transport):
    """A transport whose peer has an address of our choice."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host

    def getPeer(self) -> Any:
        """The address."""
        return (IPv6Address if ":" in self.host else IPv4Address)("TCP", self.host, 1234)


def connect(target: C2SFactory, host: str) -> StreamDriver | None:
    """A connection from an address, if it is admitted."""
    transport = AddressedTransport(host)
    driver = target.buildProtocol(transport.getPeer())
    driver.makeConnection(transport)
    if isinstance(driver, StreamDriver):
        return driver
    assert transport.disconnecting
    return None


class AdmissionTests(SynchronousTestCase):
    """XEP-0205, hardening D02 and D09."""

    def test_perAddress(self) -> None:
        """One address gets so many connections, another is not hindered, and closing gives back."""
        target = factory(perAddress=2)
        first, second = connect(target, "192.0.2.1"), connect(target, "192.0.2.1")
        assert first is not None and second is not None
        self.assertIsNone(connect(target, "192.0.2.1"))
        self.assertIsNotNone(connect(target, "192.0.2.2"))
        first.connectionLost()
        self.assertIsNotNone(connect(target, "192.0.2.1"))

    def test_networks(self) -> None:
        """An IPv6 /64 counts as one, and a mapped IPv4 address as itself."""
        target = factory(perAddress=1)
        self.assertIsNotNone(connect(target, "2001:db8::1"))
        self.assertIsNone(connect(target, "2001:db8::ffff:2"))
        self.assertIsNotNone(connect(target, "2001:db8:0:1::1"))
        self.assertIsNotNone(connect(target, "192.0.2.1"))
        self.assertIsNone(connect(target, "::ffff:192.0.2.1"))

    def test_unauthenticated(self) -> None:
        """So many may be in negotiation at a time."""
        target = factory(unauthenticated=1)
        driver = connect(target, "192.0.2.1")
        assert driver is not None
        self.assertIsNone(connect(target, "192.0.2.2"))
        target.bound(driver)
        self.assertIsNotNone(connect(target, "192.0.2.2"))

    def test_limitsOff(self) -> None:
        """A test bed takes them all."""
        target = factory(perAddress=1, unauthenticated=1, enabled=False)
        for _ in range(5):
            self.assertIsNotNone(connect(target, "127.0.0.1"))

    def test_behindAProxy(self) -> None:
        """The address that a PROXY header tells counts from the first bytes on."""
        target = factory(perAddress=1)
        for number, expected in ((1, False), (2, False), (1, True)):
            driver = connect(target, f"10.0.0.{number + len(target.streams)}")
            assert driver is not None
            driver.transport.host = f"192.0.2.{number}"
            driver.dataReceived(header().encode())
            self.assertEqual(b"<policy-violation" in driver.transport.value(), expected)

    def test_nothingIsLeft(self) -> None:
        """Hardening D01: a thousand connections leave no trace."""
        target = factory(perAddress=2000)
        for _ in range(1000):
            driver = connect(target, "192.0.2.1")
            assert driver is not None
            driver.dataReceived(header().encode())
            driver.connectionLost()
        self.assertEqual((target.streams, target._deadlines, target._perNetwork), (set(), {}, {}))


class FactsTests(SynchronousTestCase):
    """What is offered follows the host's portal, the policy and the certificates."""

    def test_policy(self) -> None:
        """Mechanisms outside the policy are not offered, and too weak if asked for."""
        peer = Peer(mechanisms=frozenset({"SCRAM-SHA-256"}))
        self.assertEqual(peer.say(header()).count("<mechanism>"), 1)
        said = peer.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>=</auth>")
        self.assertIn("<mechanism-too-weak/>", said)

    def test_hostsComeAndGo(self) -> None:
        """A host that is replaced is asked anew; one that is gone is unknown."""
        hosts = {HOST: TestHost()}
        target = C2SFactory(hosts.get, HOST, StreamSettings(), Clock())
        before = target.factsFor(HOST)
        self.assertIs(target.factsFor(HOST), before)
        hosts[HOST] = TestHost()
        self.assertIsNot(target.factsFor(HOST), before)
        target.refresh(StreamSettings(tls="optional"))
        after = target.factsFor(HOST)
        assert after is not None
        self.assertEqual(after.tls, "absent")
        del hosts[HOST]
        self.assertIsNone(target.factsFor(HOST))

    def test_optionalNeedsACertificate(self) -> None:
        """STARTTLS is offered where there is something to offer."""
        tls = provider(Path(self.mktemp()))
        self.assertIn("<starttls", Peer(tls=tls).say(header()))
        self.assertNotIn("<starttls", Peer().say(header()))


@implementer(IListeningPort)
class Port:
    """A port that remembers."""

    def __init__(self) -> None:
        self.reading = True
        self.stopped = False

    def startListening(self) -> None:
        """Already."""

    def stopListening(self) -> Deferred[None]:
        """Remember."""
        self.stopped = True
        return succeed(None)

    def getHost(self) -> Any:
        """Some address."""
        return IPv4Address("TCP", "127.0.0.1", 5222)

    def startReading(self) -> None:
        """Accept."""
        self.reading = True

    def stopReading(self) -> None:
        """Accept no more."""
        self.reading = False


@implementer(IStreamServerEndpoint)
class Endpoint:
    """An endpoint that gives a port or an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.port = Port()
        self.error = error
        self.factory: Any = None

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """At once."""
        self.factory = protocolFactory
        return fail(self.error) if self.error is not None else succeed(self.port)


class ServiceTests(SynchronousTestCase):
    """Binding, accepting, stopping."""

    def test_interfaces(self) -> None:
        """The service and the doubles keep their contracts."""
        verifyObject(IService, StreamService(factory(), []))
        verifyObject(IListeningPort, Port())
        verifyObject(IStreamServerEndpoint, Endpoint())

    def test_acceptsOnlyOnceStarted(self) -> None:
        """Ports are bound with privileges and read from later."""
        endpoint = Endpoint()
        service = StreamService(factory(), [endpoint])
        service.privilegedStartService()
        self.assertFalse(endpoint.port.reading)
        self.successResultOf(service.startService())
        self.assertTrue(endpoint.port.reading)
        self.successResultOf(service.stopService())
        self.assertTrue(endpoint.port.stopped)

    def test_portInUse(self) -> None:
        """A port that cannot be bound fails the start with its reason."""
        service = StreamService(factory(), [Endpoint(), Endpoint(OSError("in use"))])
        service.privilegedStartService()
        self.assertIn("in use", str(self.failureResultOf(service.startService(), OSError).value))
        self.successResultOf(service.stopService())

    def test_directTLS(self) -> None:
        """Direct TLS wraps the same factory."""
        tls = provider(Path(self.mktemp()))
        target = C2SFactory({HOST: TestHost()}.get, HOST, StreamSettings(), Clock(), tls)
        endpoint = Endpoint()
        service = StreamService(target, [], [endpoint])
        self.successResultOf(service.startService())
        self.assertIs(endpoint.factory.wrappedFactory, target)
        self.successResultOf(service.stopService())

    def test_stopWaitsAndThenDrops(self) -> None:
        """Streams get five seconds to close, no more; nobody new is let in."""
        peer = boundPeer()
        service = StreamService(peer.factory, [])
        self.successResultOf(service.startService())
        stopped = service.stopService()
        self.assertIn("<system-shutdown", peer.heard())
        self.assertIsInstance(peer.factory.buildProtocol(None), Refusal)
        self.assertNoResult(stopped)
        peer.clock.pump([1.0] * 6)
        self.assertTrue(peer.transport.aborted)
        peer.driver.connectionLost()
        self.successResultOf(stopped)
        self.assertEqual(peer.clock.getDelayedCalls(), [])

    def test_stopWithNobody(self) -> None:
        """At once."""
        service = StreamService(factory(), [])
        self.successResultOf(service.startService())
        self.successResultOf(service.stopService())

    def test_stopDuringNegotiation(self) -> None:
        """Streams without session are told too."""
        peer = Peer()
        logIn(peer)
        peer.factory.shutDown()
        self.assertIn("<system-shutdown", peer.heard())
