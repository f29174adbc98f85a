"""A link whose other server acknowledges slowly, or not at all (XEP-0198)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from xmppservice.hub.contracts.federation import IConnector, IIdentity
from xmppservice.hub.federation.domains import Federation
from xmppservice.hub.federation.link import ServerLink
from xmppservice.hub.federation.managing import Management
from xmppservice.hub.federation.policy import FederationPolicy
from xmppservice.protocol.stream.s2s import Verdict
from xmppservice.testing.client import MemoryStream
from xmppservice.testing.server import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

REMOTE = "slow.example"
LIMIT = 20


@implementer(IIdentity)
class Known:
    """An identity that nobody doubts."""

    def judge(self, domain: str) -> Deferred[Verdict]:
        """See `IIdentity.judge`."""
        return succeed(Verdict(True, "pkix", ""))


@implementer(IConnector)
class Unconnected:
    """Never comes to an end."""

    def connect(self, local: str, remote: str) -> Deferred[ServerLink]:
        """See `IConnector.connect`."""
        return Deferred()


class UnacknowledgedTests(SynchronousTestCase):
    """Alice writes to a server that has taken her domain's stream and XEP-0198."""

    def setUp(self) -> None:
        """The link is up."""
        self.server = MemoryServer(modules=("roster", "stream_management"))
        self.addCleanup(self.server.stop)
        policy = FederationPolicy(unacknowledged=LIMIT)
        self.federation = Federation(self.server.router, self.server.database.store, self.server.clock, policy)
        self.federation.connector = Unconnected()
        self.server.router.remote = self.federation.route
        self.stream = MemoryStream()
        self.link = ServerLink(self.federation, self.stream, Known(), REMOTE, "localhost")
        self.link.managed = Management(True)
        self.link.accepted("localhost", REMOTE, "certificate")
        self.link.begin(self.federation.routeFor("localhost", REMOTE))
        self.link.receive(Element(ns.SM, "enabled"))
        self.alice = self.server.client("alice/phone", available=True)
        self.alice.take()

    def write(self, count: int) -> None:
        """So many messages to the other server."""
        for number in range(count):
            self.alice.send(f"<message to='bob@{REMOTE}' type='chat' id='{number}'><body>x</body></message>")

    def arrived(self) -> int:
        """How many messages went out since last time."""
        count = sum(stanza.name == "message" for stanza in self.stream.received)
        self.stream.received.clear()
        return count

    def test_whatIsTooMuchComesBack(self) -> None:
        """The stream and what is under way on it stay; the sender is told to wait, and after an <a/> it goes on."""
        self.write(LIMIT + 1 + 5)
        self.assertEqual(self.arrived(), LIMIT + 1)
        refused = [stanza.find(ns.CLIENT, "error") for stanza in self.alice.take() if stanza.get("type") == "error"]
        self.assertEqual([error.get("type") for error in refused if error is not None], ["wait"] * 5)
        self.assertIsNone(self.stream.error)
        self.link.receive(Element(ns.SM, "a", {"h": str(LIMIT + 1)}))
        self.write(2)
        self.assertEqual(self.arrived(), 2)
        self.assertEqual(self.alice.take(), [])

    def test_anAnswerThatCoversNothingIsAskedForAgain(self) -> None:
        """Else nobody would ask, because no stanza goes out any more."""
        self.write(LIMIT + 2)
        self.stream.received.clear()
        self.link.receive(Element(ns.SM, "a", {"h": "0"}))
        self.assertEqual(self.stream.received, [])
        self.write(2)
        self.assertEqual([element.name for element in self.stream.received], ["r"])

    def test_whoAcknowledgesNothingIsGivenUp(self) -> None:
        """The stream of a server that does not count is ended; slow progress is enough to keep it."""
        self.write(LIMIT + 2)
        for acknowledged in (2, 4):
            self.server.advance(25)
            self.link.receive(Element(ns.SM, "a", {"h": str(acknowledged)}))
            self.write(3)
            self.assertIsNone(self.stream.error)
        self.server.advance(25)
        self.write(1)
        self.assertIsNone(self.stream.error)
        self.server.advance(10)
        self.write(1)
        self.assertEqual(self.stream.error and self.stream.error.condition, "resource-constraint")
