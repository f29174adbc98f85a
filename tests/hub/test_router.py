"""The router: domains, ports, refusals (architecture section 3)."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.hub.kit import bodies, chat, errors, manage, presences
from xmppservice.hub.contracts.delivery import IPort
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.subscription import FROM, KNOWN, TO
from xmppservice.testing import MemoryServer


@implementer(IPort)
class Room:
    """A port that keeps what it gets and answers as the test wants."""

    name = "room.localhost"
    accepting = True

    def __init__(self) -> None:
        self.got: list[Transit] = []
        self.outcome: Deferred[None] | Exception | None = None

    def deliver(self, transit: Transit) -> Deferred[None] | None:
        """See `IPort.deliver`."""
        self.got.append(transit)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class RouterTests(SynchronousTestCase):
    """Alice sends to other domains than her own."""

    def setUp(self) -> None:
        """Two hosts, and a port."""
        self.server = MemoryServer(("stream_management",), domains=("localhost", "other.example"))
        self.room = Room()
        self.server.router.destinations[self.room.name] = self.room
        self.alice = self.server.client("alice/phone")

    def test_contracts(self) -> None:
        """Hosts are ports as well."""
        verifyObject(IPort, self.room)
        verifyObject(IPort, self.server.host)

    def test_otherHost(self) -> None:
        """Accounts of two hosts of one server reach each other, and are not the same."""
        bob = self.server.client("bob@other.example/desk", available=True)
        self.server.client("bob/desk", available=True)
        chat(self.alice, "bob@other.example", "hi")
        self.assertEqual(bodies(bob), ["hi"])

    def test_presenceBetweenHosts(self) -> None:
        """Presence works between them as on one."""
        bob = self.server.client("bob@other.example/desk", available=True)
        self.server.account("alice").setState("bob@other.example", KNOWN | FROM | TO)
        self.server.account("bob@other.example").setState("alice@localhost", KNOWN | FROM | TO)
        self.alice.available()
        self.assertIn(("bob@other.example/desk", ""), presences(self.alice))
        self.assertEqual(presences(bob), [("alice@localhost/phone", "")])

    def test_port(self) -> None:
        """A port gets whole stanzas with true addresses."""
        chat(self.alice, "den@room.localhost/Al", "hi", "groupchat")
        (transit,) = self.room.got
        self.assertEqual((transit.sender.full, transit.to.full), ("alice@localhost/phone", "den@room.localhost/Al"))
        self.assertEqual(self.alice.take(), [])

    def test_portRefuses(self) -> None:
        """A refusal goes to the sender."""
        self.room.outcome = StanzaError("forbidden")
        chat(self.alice, "den@room.localhost", "hi")
        self.assertEqual(errors(self.alice), ["forbidden"])

    def test_portBreaks(self) -> None:
        """A mistake in a port does not end the sender's stream."""
        self.room.outcome = ValueError("broken")
        chat(self.alice, "den@room.localhost", "hi")
        self.assertEqual(errors(self.alice), ["internal-server-error"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_portTakesTime(self) -> None:
        """The acknowledgement waits for a port that answers later, and its refusal is told."""
        manage(self.alice)
        waiting: Deferred[None] = Deferred()
        self.room.outcome = waiting
        chat(self.alice, "den@room.localhost", "hi")
        self.alice.send("<r xmlns='urn:xmpp:sm:3'/>")
        self.assertEqual(self.alice.take(), [])
        waiting.errback(StanzaError("forbidden"))
        names = [stanza.name for stanza in self.alice.take() if stanza.name != "r"]
        self.assertEqual(sorted(names), ["a", "message"])

    def test_portDoesNotAccept(self) -> None:
        """A port that is busy bounces, to be tried again."""
        self.room.accepting = False
        chat(self.alice, "den@room.localhost", "hi")
        error = self.alice.next("message").elements()[-1]
        self.assertEqual((error.get("type"), error.elements()[0].name), ("wait", "service-unavailable"))
        self.assertEqual(self.room.got, [])

    def test_remote(self) -> None:
        """Whoever speaks to other servers gets the rest; without it there is no rest."""
        chat(self.alice, "bob@far.example", "one")
        self.assertEqual(errors(self.alice), ["remote-server-not-found"])
        taken: list[Transit] = []
        self.server.router.remote = taken.append
        chat(self.alice, "bob@far.example", "two")
        self.assertEqual([transit.to.domain for transit in taken], ["far.example"])

    def test_remotePresence(self) -> None:
        """Contacts elsewhere get stanzas, and are probed (RFC 6121 4.3.1)."""
        taken: list[Transit] = []
        self.server.router.remote = taken.append
        self.server.account("alice").setState("bob@far.example", KNOWN | FROM | TO)
        self.alice.send("<presence><show>away</show></presence>")
        self.alice.close()
        told = [(each.stanza.get("type"), each.stanza.get("from"), each.stanza.get("to")) for each in taken]
        self.assertEqual(
            told,
            [
                (None, "alice@localhost/phone", "bob@far.example"),
                ("probe", "alice@localhost", "bob@far.example"),
                ("unavailable", "alice@localhost/phone", "bob@far.example"),
            ],
        )
        self.assertEqual(taken[0].stanza.elements()[0].text, "away")

    def test_removedHost(self) -> None:
        """A host that was taken away is a domain like any other."""
        self.server.router.removeHost(self.server.hosts["other.example"])
        chat(self.alice, "bob@other.example", "hi")
        self.assertEqual(errors(self.alice), ["remote-server-not-found"])

    def test_questions(self) -> None:
        """Which addresses could be accounts, and which are online."""
        router = self.server.router
        for text, account, online in (
            ("alice@localhost", True, True), ("bob@localhost", True, False), ("localhost", False, False),
            ("den@room.localhost", False, False), ("a@far.example", False, False),
        ):  # fmt: skip
            jid = JID.parse(text)
            self.assertEqual(router.isAccount(jid), account, text)
            self.assertEqual(router.onlineAccount(jid) is not None, online, text)
