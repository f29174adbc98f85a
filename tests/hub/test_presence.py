"""Presence: initial, broadcast, probes, directed, priorities, the end of sessions (RFC 6121 sections 4 and 3.1)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import bodies, chat, condition, manage, presences
from xmppservice.hub import presence
from xmppservice.hub.hooks import HANDLED, Phase
from xmppservice.hub.hooks import presence as points
from xmppservice.hub.hooks import session as sessions
from xmppservice.hub.module import HostModule
from xmppservice.hub.session import Session
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.subscription import FROM, KNOWN, TO
from xmppservice.testing import MemoryServer
from xmppservice.testing.client import MemoryClient
from xmppservice.wire import ns


class PresenceCase(SynchronousTestCase):
    """Alice and Bob are friends; Carol is a stranger."""

    def setUp(self) -> None:
        """Nobody is online yet."""
        self.server = MemoryServer()
        self.server.befriend("alice", "bob")
        self.server.account("carol")

    def online(self, address: str) -> MemoryClient:
        """A client with presence; what everybody got for it is left."""
        client = self.server.client(address)
        client.available()
        return client


class InitialTests(PresenceCase):
    """Initial presence (4.2)."""

    def test_toSubscribers(self) -> None:
        """Subscribers learn of it, once per session, from the full address to their bare one."""
        bob = self.server.client("bob/desk", available=True)
        self.online("alice/phone")
        stanza = bob.next("presence")
        self.assertEqual((stanza.get("from"), stanza.get("to")), ("alice@localhost/phone", "bob@localhost"))
        self.assertEqual(bob.take(), [])

    def test_toOneself(self) -> None:
        """The session gets its own presence, and so do the account's others (4.2.2)."""
        desk = self.server.client("alice/desk", available=True)
        phone = self.online("alice/phone")
        self.assertEqual(presences(desk), [("alice@localhost/phone", "")])
        self.assertEqual(presences(phone), [("alice@localhost/phone", ""), ("alice@localhost/desk", "")])

    def test_learnsOfContacts(self) -> None:
        """It gets the presence of every session of those it is subscribed to (4.2.2, 4.3)."""
        self.online("bob/desk").send("<presence><show>away</show></presence>")
        self.online("bob/phone")
        alice = self.online("alice/phone")
        told = {stanza.get("from"): stanza for stanza in alice.take()}
        self.assertEqual(set(told), {"alice@localhost/phone", "bob@localhost/desk", "bob@localhost/phone"})
        self.assertIsNotNone(told["bob@localhost/desk"].find(ns.CLIENT, "show"))

    def test_onlyWithSubscription(self) -> None:
        """One direction of a subscription works in that direction only."""
        self.server.account("alice").setState("bob@localhost", KNOWN | FROM)
        self.server.account("bob").setState("alice@localhost", KNOWN | TO)
        bob = self.online("bob/desk")
        alice = self.online("alice/phone")
        self.assertEqual(presences(alice), [("alice@localhost/phone", "")])
        self.assertIn(("alice@localhost/phone", ""), presences(bob))

    def test_bothSidesMustKnow(self) -> None:
        """A claim in one roster alone does not show the other's presence."""
        self.server.account("bob").setState("alice@localhost", KNOWN)
        self.online("bob/desk")
        self.assertEqual(presences(self.online("alice/phone")), [("alice@localhost/phone", "")])

    def test_strangers(self) -> None:
        """Strangers learn nothing."""
        carol = self.server.client("carol/desk", available=True)
        self.online("alice/phone")
        self.assertEqual(carol.take(), [])

    def test_connectedIsNotAvailable(self) -> None:
        """A contact's session without presence gets none."""
        bob = self.server.client("bob/desk")
        self.online("alice/phone")
        self.assertEqual(bob.take(), [])

    def test_contentAndLanguage(self) -> None:
        """Show, status, extensions, id and language arrive as they were sent."""
        bob = self.server.client("bob/desk", available=True)
        alice = self.server.client("alice/phone")
        alice.send(
            "<presence id='p1' xml:lang='de'><show>dnd</show><status>a &amp; b</status>"
            "<c xmlns='http://jabber.org/protocol/caps' ver='x'/></presence>"
        )
        stanza = bob.next("presence")
        self.assertEqual((stanza.get("id"), stanza.get(ns.XML + " lang")), ("p1", "de"))
        self.assertEqual([child.name for child in stanza.elements()], ["show", "status", "c"])
        self.assertEqual(stanza.elements()[1].text, "a & b")

    def test_pendingRequests(self) -> None:
        """Requests that nobody has answered come at every login (3.1.3)."""
        self.server.client("carol/desk").send(
            "<presence to='alice@localhost' type='subscribe'><status>please</status></presence>"
        )
        for _ in range(2):
            alice = self.online("alice/phone")
            request = [stanza for stanza in alice.take() if stanza.get("type") == "subscribe"]
            self.assertEqual([stanza.get("from") for stanza in request], ["carol@localhost"])
            self.assertEqual(request[0].elements()[0].text, "please")
            alice.close()


class LaterTests(PresenceCase):
    """Changes and unavailable presence (4.4, 4.5)."""

    def setUp(self) -> None:
        """Both friends are online."""
        super().setUp()
        self.alice = self.server.client("alice/phone", available=True)
        self.bob = self.server.client("bob/desk", available=True)
        self.alice.take()

    def test_change(self) -> None:
        """A change goes to subscribers and oneself, and asks nobody again."""
        self.alice.send("<presence><show>xa</show></presence>")
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "")])
        self.assertEqual(presences(self.alice), [("alice@localhost/phone", "")])

    def test_laterSubscribersSeeLast(self) -> None:
        """A contact that comes later sees the last presence, not the first."""
        self.alice.send("<presence><show>xa</show></presence>")
        phone = self.online("bob/phone")
        shown = [stanza for stanza in phone.take() if stanza.get("from") == "alice@localhost/phone"]
        self.assertEqual([stanza.find(ns.CLIENT, "show").text for stanza in shown], ["xa"])  # type: ignore[union-attr]

    def test_unavailable(self) -> None:
        """Unavailable presence reaches subscribers with its status, and the session itself (4.5.2)."""
        self.alice.send("<presence type='unavailable'><status>bye</status></presence>")
        stanza = self.bob.next("presence")
        self.assertEqual((stanza.get("type"), stanza.elements()[0].text), ("unavailable", "bye"))
        self.assertEqual(presences(self.alice), [("alice@localhost/phone", "unavailable")])
        self.bob.send("<presence><show>away</show></presence>")
        self.assertEqual(self.alice.take(), [])

    def test_unavailableTwice(self) -> None:
        """Who is not there cannot leave."""
        self.alice.send("<presence type='unavailable'/>")
        self.bob.take()
        self.alice.send("<presence type='unavailable'/>")
        self.assertEqual(self.bob.take(), [])

    def test_availableAgain(self) -> None:
        """Presence after unavailable is initial presence again."""
        self.alice.send("<presence type='unavailable'/>")
        self.alice.take()
        self.alice.available()
        self.assertIn(("bob@localhost/desk", ""), presences(self.alice))

    def test_closed(self) -> None:
        """The server says goodbye for a session that ends without (4.5.2)."""
        self.alice.close()
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "unavailable")])

    def test_lost(self) -> None:
        """So it does for one whose connection broke."""
        self.alice.lose()
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "unavailable")])

    def test_closedAfterUnavailable(self) -> None:
        """One goodbye is enough."""
        self.alice.send("<presence type='unavailable'/>")
        self.bob.take()
        self.alice.close()
        self.assertEqual(self.bob.take(), [])

    def test_ownOtherSession(self) -> None:
        """The account's other sessions see it go."""
        desk = self.online("alice/desk")
        desk.take()
        self.alice.close()
        self.assertEqual(presences(desk), [("alice@localhost/phone", "unavailable")])


class PriorityTests(PresenceCase):
    """Priorities (4.7.2.3)."""

    def test_decides(self) -> None:
        """The highest priority gets the chat message, and a later change moves it."""
        low, high = self.server.client("bob/low"), self.server.client("bob/high")
        low.available(1)
        high.available(2)
        alice = self.server.client("alice/phone")
        chat(alice, "bob@localhost", "one")
        low.available(3)
        chat(alice, "bob@localhost", "two")
        self.assertEqual((bodies(low), bodies(high)), (["two"], ["one"]))

    def test_invalid(self) -> None:
        """A priority that is none is an error, and the session stays as it was."""
        for text in ("128", "-129", "high", ""):
            alice = self.server.client("alice/phone")
            alice.send(f"<presence><priority>{text}</priority></presence>")
            self.assertEqual(condition(alice.next("presence")), "bad-request", text)
            self.assertFalse(alice.session.available)

    def test_extremes(self) -> None:
        """-128 and 127 are fine."""
        for number in (-128, 127):
            alice = self.server.client("alice/phone")
            alice.available(number)
            self.assertEqual(alice.session.priority, number)


class DirectedTests(PresenceCase):
    """Directed presence (4.6)."""

    def setUp(self) -> None:
        """Alice and Carol, who are strangers, are online."""
        super().setUp()
        self.alice = self.server.client("alice/phone", available=True)
        self.carol = self.server.client("carol/desk", available=True)

    def test_delivered(self) -> None:
        """It goes to the address and nowhere else."""
        bob = self.server.client("bob/desk", available=True)
        self.alice.take()
        self.alice.send("<presence to='carol@localhost'><show>chat</show></presence>")
        self.assertEqual(presences(self.carol), [("alice@localhost/phone", "")])
        self.assertEqual((self.alice.take(), bob.take()), ([], []))

    def test_takenBack(self) -> None:
        """When the session goes, whoever had directed presence learns of it (4.6.3)."""
        for end in ("<presence type='unavailable'/>", None):
            alice = self.server.client("alice/laptop", available=True)
            alice.send("<presence to='carol@localhost/desk'/>")
            self.carol.take()
            if end is None:
                alice.close()
            else:
                alice.send(end)
            self.assertEqual(presences(self.carol), [("alice@localhost/laptop", "unavailable")])
            alice.close()
            self.assertEqual(self.carol.take(), [])

    def test_takenBackByHand(self) -> None:
        """After directed unavailable presence there is nothing left to take back."""
        self.alice.send("<presence to='carol@localhost'/>")
        self.alice.send("<presence to='carol@localhost' type='unavailable'/>")
        self.carol.take()
        self.alice.close()
        self.assertEqual(self.carol.take(), [])

    def test_onceForSubscribers(self) -> None:
        """A subscriber with directed presence gets one unavailable presence, not two."""
        bob = self.server.client("bob/desk", available=True)
        self.alice.send("<presence to='bob@localhost'/>")
        bob.take()
        self.alice.close()
        self.assertEqual(presences(bob), [("alice@localhost/phone", "unavailable")])

    def test_withoutInitialPresence(self) -> None:
        """A session may show itself to one address alone (4.6.2), and is taken back there too."""
        laptop = self.server.client("alice/laptop")
        laptop.send("<presence to='carol@localhost'/>")
        self.assertEqual(presences(self.carol), [("alice@localhost/laptop", "")])
        laptop.close()
        self.assertEqual(presences(self.carol), [("alice@localhost/laptop", "unavailable")])

    def test_opensRequests(self) -> None:
        """Who had directed presence may send requests to that resource (8.5.3.1)."""
        ping = "<iq type='get' id='1' to='alice@localhost/phone'><ping xmlns='urn:xmpp:ping'/></iq>"
        self.carol.send(ping)
        self.assertEqual(condition(self.carol.next("iq")), "service-unavailable")
        self.alice.send("<presence to='carol@localhost/desk'/>")
        self.carol.send(ping)
        self.assertEqual(self.alice.next("iq").get("from"), "carol@localhost/desk")

    def test_bounded(self) -> None:
        """What is remembered has a bound; more is refused."""
        self.patch(presence, "DIRECTED_LIMIT", 2)
        for name in ("a", "b", "a", "c"):
            self.alice.send(f"<presence to='{name}@localhost'/>")
        self.assertEqual(condition(self.alice.next("presence")), "resource-constraint")
        self.assertEqual(len(self.alice.session.directed or ()), 2)


class ProbeTests(PresenceCase):
    """Presence probes that users and servers send (4.3)."""

    def setUp(self) -> None:
        """Alice is online with two sessions."""
        super().setUp()
        self.phone = self.server.client("alice/phone")
        self.phone.send("<presence><show>away</show></presence>")
        self.desk = self.server.client("alice/desk", available=True)
        self.bob = self.server.client("bob/desk", available=True)
        self.carol = self.server.client("carol/desk", available=True)

    def probe(self, who: MemoryClient, to: str) -> list[tuple[str, str]]:
        """What is answered to a probe."""
        who.send(f"<presence to='{to}' type='probe'/>")
        return sorted(presences(who))

    def test_subscriber(self) -> None:
        """A subscriber sees every session."""
        self.assertEqual(
            self.probe(self.bob, "alice@localhost"), [("alice@localhost/desk", ""), ("alice@localhost/phone", "")]
        )

    def test_oneResource(self) -> None:
        """Asked for one resource, only that it is there is told."""
        self.bob.send("<presence to='alice@localhost/phone' type='probe'/>")
        (answer,) = self.bob.take()
        self.assertEqual((answer.get("from"), answer.elements()), ("alice@localhost/phone", []))

    def test_stranger(self) -> None:
        """A stranger learns nothing: the answer is no news to who has no subscription."""
        self.assertEqual(self.probe(self.carol, "alice@localhost"), [])

    def test_wrongBelief(self) -> None:
        """Who wrongly believes to be subscribed is told otherwise, for unknown accounts too (4.3.2)."""
        roster = self.server.account("carol").roster
        for address in ("alice@localhost", "nobody@localhost"):
            self.server.account("carol").setState(address, KNOWN | TO)
            self.assertEqual(self.probe(self.carol, address), [(address, "unsubscribed")])
            self.assertEqual(roster[address], KNOWN)

    def test_offline(self) -> None:
        """A subscriber learns that nobody is there."""
        self.phone.close()
        self.desk.close()
        self.bob.take()
        self.assertEqual(self.probe(self.bob, "alice@localhost"), [("alice@localhost", "unavailable")])

    def test_own(self) -> None:
        """An own session may ask."""
        laptop = self.server.client("alice/laptop")
        laptop.available()
        laptop.take()
        self.assertEqual(len(self.probe(laptop, "alice@localhost")), 3)


class OddTests(PresenceCase):
    """What is wrong, and what waits."""

    def test_unknownType(self) -> None:
        """A type that nobody knows is an error (4.7.1)."""
        alice = self.server.client("alice/phone")
        alice.send("<presence type='invisible'/>")
        self.assertEqual(condition(alice.next("presence")), "bad-request")

    def test_subscribeToNobody(self) -> None:
        """A subscription stanza needs an address."""
        alice = self.server.client("alice/phone")
        alice.send("<presence type='subscribe'/>")
        self.assertEqual(condition(alice.next("presence")), "bad-request")

    def test_errorToNobody(self) -> None:
        """So does an error; and no error answers an error."""
        alice = self.server.client("alice/phone")
        alice.send("<presence type='error'/>")
        self.assertEqual(alice.take(), [])

    def test_errorIsNotBroadcast(self) -> None:
        """An error from outside for the bare address is dropped."""
        alice = self.server.client("alice/phone", available=True)
        carol = self.server.client("carol/desk")
        carol.send("<presence type='error' to='alice@localhost'/>")
        self.assertEqual(alice.take(), [])

    def test_hibernating(self) -> None:
        """Presence for a hibernating session is kept for it, and nobody hears that it went."""
        bob = self.server.client("bob/desk", available=True)
        self.server.loader.attach(self.server.host, ("stream_management",))
        alice = self.server.client("alice/phone")
        manage(alice)
        alice.available()
        bob.take()
        alice.lose()
        self.assertEqual(bob.take(), [])
        bob.send("<presence><show>away</show></presence>")
        assert alice.session.queue is not None
        self.assertIn(b"away", alice.session.queue.unacknowledged[-1][0])
        self.server.advance(601)
        self.assertEqual(presences(bob)[-1], ("alice@localhost/phone", "unavailable"))


class Watcher(HostModule):
    """Notes events, and decides about presence as the test wants it."""

    name = "watcher"
    events: list[tuple[str, str]] = []
    decision: object = None
    chosen: list[str] | None = None

    @sessions.available
    def onAvailable(self, session: Session) -> None:
        """Note it."""
        self.events.append(("available", session.resource))

    @sessions.unavailable
    def onUnavailable(self, session: Session) -> None:
        """Note it."""
        self.events.append(("unavailable", session.resource))

    @points.sending(Phase.POLICY)
    def onSending(self, transit: Transit) -> object:
        """Decide."""
        if isinstance(self.decision, StanzaError):
            raise self.decision
        return self.decision

    @points.spreading
    def onSpreading(self, account: object, contacts: list[str]) -> list[str] | None:
        """Choose."""
        return self.chosen


class HookTests(PresenceCase):
    """What modules can do."""

    def setUp(self) -> None:
        """A host with the module above."""
        super().setUp()
        Watcher.events = []
        watcher = Watcher(self.server.host, None)
        self.server.host.modulesChanged([watcher])
        self.watcher = watcher

    def test_events(self) -> None:
        """Available fires once for a willing session, again when it became willing; unavailable once."""
        alice = self.server.client("alice/phone")
        alice.available(-1)
        self.assertEqual(self.watcher.events, [])
        alice.available(0)
        alice.available(5)
        alice.send("<presence type='unavailable'/>")
        alice.close()
        self.assertEqual(self.watcher.events, [("available", "phone"), ("unavailable", "phone")])

    def test_dropped(self) -> None:
        """HANDLED means that nothing happens."""
        self.watcher.decision = HANDLED
        alice = self.server.client("alice/phone")
        alice.available()
        self.assertEqual((alice.session.available, alice.take()), (False, []))

    def test_refused(self) -> None:
        """A refusal reaches the sender."""
        self.watcher.decision = StanzaError("policy-violation")
        alice = self.server.client("alice/phone")
        alice.available()
        self.assertEqual(condition(alice.next("presence")), "policy-violation")

    def test_spreading(self) -> None:
        """A module may choose who gets the broadcast."""
        bob = self.server.client("bob/desk", available=True)
        self.watcher.chosen = []
        self.server.client("alice/phone", available=True)
        self.assertEqual(bob.take(), [])
