"""Rules of RFC 6121 and RFC 6120 that are easy to break: leaks, order, what comes too late."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import CHAT, SlowServer, ask, chat, condition, presences
from xmppservice.hub.hooks import ACCOUNT, Phase, iq, presence
from xmppservice.hub.module import HostModule
from xmppservice.hub.transit import Transit
from xmppservice.protocol.subscription import FROM, KNOWN, PENDING_IN, PENDING_OUT, TO
from xmppservice.testing import MemoryServer
from xmppservice.testing.client import MemoryClient
from xmppservice.wire import ns
from xmppservice.wire.element import Element

ROSTER = "<query xmlns='jabber:iq:roster'/>"


def attach(server: MemoryServer, kind: type[HostModule]) -> None:
    """Put one more module behind those that the host has."""
    host = server.host
    host.modulesChanged([*host.modules.values(), kind(host, None)])


def shown(client: MemoryClient) -> list[tuple[str, str]]:
    """(from or name, type) of all presence and IQ stanzas that came, in order; takes everything."""
    return [
        (stanza.get("from") or stanza.name, stanza.get("type") or "")
        for stanza in client.take()
        if stanza.name in ("presence", "iq")
    ]


class TooLateTests(SynchronousTestCase):
    """What a session had sent is processed after its end, but it is not present any more (4.5.2)."""

    def setUp(self) -> None:
        """Alice waits for her roster, and for what she sent behind the request."""
        self.server = SlowServer(CHAT)
        self.server.befriend("alice", "bob")
        self.bob = self.server.client("bob/desk", available=True)
        self.alice = self.server.client("alice/phone")
        self.server.hold()
        self.server.account("alice").setState("carol@localhost", KNOWN)
        self.alice.send(f"<iq type='get' id='r'>{ROSTER}</iq>")

    def test_broadcast(self) -> None:
        """Presence that waited behind a request does not make a ghost of the session."""
        self.alice.send("<presence/>")
        self.alice.lose()
        self.server.commit()
        self.assertEqual(presences(self.bob), [])
        self.assertFalse(self.alice.session.available)

    def test_directed(self) -> None:
        """Nor does directed presence to an own address."""
        other = self.server.client("alice/desk")
        self.alice.send("<presence to='alice@localhost/desk'/>")
        self.alice.lose()
        self.server.commit()
        self.assertEqual(presences(other), [])

    def test_inTime(self) -> None:
        """While the session is there it is broadcast, behind the roster."""
        self.alice.send("<presence/>")
        self.assertEqual(presences(self.bob), [])
        self.server.commit()
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "")])
        self.assertEqual([stanza.name for stanza in self.alice.take()][:2], ["iq", "presence"])


class DirectedProbeTests(SynchronousTestCase):
    """Probes by who got directed presence (4.6.6): that resource only, and only that it is there."""

    def setUp(self) -> None:
        """Alice has two sessions; one of them shows itself to Carol, who is no subscriber."""
        self.server = MemoryServer(CHAT)
        self.phone = self.server.client("alice/phone", available=True)
        self.desk = self.server.client("alice/desk", available=True)
        self.carol = self.server.client("carol/desk", available=True)
        self.phone.send("<presence><show>away</show></presence>")

    def probe(self, to: str) -> list[Element]:
        """What Carol is answered."""
        self.carol.take()
        self.carol.send(f"<presence to='{to}' type='probe'/>")
        return self.carol.take()

    def test_bare(self) -> None:
        """The other session, and details, stay hidden."""
        self.phone.send("<presence to='carol@localhost'><show>chat</show></presence>")
        (answer,) = self.probe("alice@localhost")
        self.assertEqual((answer.get("from"), answer.get("type"), answer.children), ("alice@localhost/phone", None, []))

    def test_full(self) -> None:
        """The session that showed itself answers; for the other there is no permission."""
        self.phone.send("<presence to='carol@localhost'/>")
        (answer,) = self.probe("alice@localhost/phone")
        self.assertEqual((answer.get("from"), answer.children), ("alice@localhost/phone", []))
        self.assertNotIn("alice@localhost/desk", [stanza.get("from") for stanza in self.probe("alice@localhost/desk")])

    def test_neverAvailable(self) -> None:
        """A session that only ever sent directed presence is there for who got it."""
        tablet = self.server.client("alice/tablet")
        tablet.send("<presence to='carol@localhost'/>")
        (answer,) = self.probe("alice@localhost/tablet")
        self.assertEqual((answer.get("from"), answer.get("type")), ("alice@localhost/tablet", None))

    def test_takenBack(self) -> None:
        """After directed unavailable presence the permission is gone."""
        self.phone.send("<presence to='carol@localhost'/>")
        self.phone.send("<presence to='carol@localhost' type='unavailable'/>")
        self.assertEqual([s.get("from") for s in self.probe("alice@localhost") if s.get("type") is None], [])

    def test_peerLeft(self) -> None:
        """Who says goodbye to the user is taken off the list (4.6.1)."""
        self.phone.send("<presence to='carol@localhost/desk'/>")
        self.carol.send("<presence to='alice@localhost/phone' type='unavailable'/>")
        self.assertEqual(self.phone.session.directed, set())

    def test_unknownAccount(self) -> None:
        """The answer for an account that is none has the probe's id (4.3.2.1)."""
        self.server.account("carol").setState("nobody@localhost", KNOWN | TO)
        self.carol.take()
        self.carol.send("<presence to='nobody@localhost' type='probe' id='p1'/>")
        answers = [stanza for stanza in self.carol.take() if stanza.name == "presence"]
        self.assertEqual([(stanza.get("type"), stanza.get("id")) for stanza in answers], [("unsubscribed", "p1")])


class SubscriptionOrderTests(SynchronousTestCase):
    """What is sent when a subscription begins and ends, in the order that the RFC asks for."""

    def setUp(self) -> None:
        """Alice and Bob, both online and with their rosters."""
        self.server = MemoryServer(CHAT)

    def begin(self, ofAlice: int, ofBob: int) -> tuple[MemoryClient, MemoryClient]:
        """Two clients whose rosters have these states."""
        for name, other, state in (("alice", "bob", ofAlice), ("bob", "alice", ofBob)):
            if state:
                self.server.account(name).setState(f"{other}@localhost", state)
        clients = [self.server.client(address, available=True) for address in ("alice/one", "bob/one")]
        for client in clients:
            ask(client, ROSTER)
            client.take()
        return clients[0], clients[1]

    def test_cancelled(self) -> None:
        """Goodbye comes before the cancellation, while the contact still listens (3.2.2)."""
        alice, bob = self.begin(KNOWN | FROM, KNOWN | TO)
        alice.send("<presence to='bob@localhost' type='unsubscribed'/>")
        self.assertEqual(
            shown(bob), [("alice@localhost/one", "unavailable"), ("alice@localhost", "unsubscribed"), ("iq", "set")]
        )

    def test_removed(self) -> None:
        """The same when the contact is removed from the roster (2.5.2)."""
        alice, bob = self.begin(KNOWN | FROM | TO, KNOWN | TO | FROM)
        ask(alice, "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' subscription='remove'/></query>", "set")
        found = [entry for entry in shown(bob) if entry[0] != "iq"]
        self.assertEqual(found[0], ("alice@localhost/one", "unavailable"))
        self.assertEqual({type for _, type in found[1:]}, {"unsubscribe", "unsubscribed"})
        self.assertEqual(self.server.account("bob").roster["alice@localhost"], KNOWN)

    def test_approved(self) -> None:
        """The approval comes first, then the push, and presence too (3.1.5, 3.1.6)."""
        alice, bob = self.begin(KNOWN | PENDING_OUT, PENDING_IN)
        bob.send("<presence to='alice@localhost' type='subscribed'/>")
        found = shown(alice)
        self.assertEqual(found[0], ("bob@localhost", "subscribed"))
        self.assertCountEqual(found[1:], [("iq", "set"), ("bob@localhost/one", "")])

    def test_fullAddressWithoutResource(self) -> None:
        """Answers to a full address that matches nothing are ignored, requests are not (8.5.3.2.2)."""
        alice, bob = self.begin(KNOWN | PENDING_OUT, 0)
        for type in ("subscribed", "unsubscribed", "unsubscribe", "subscribe"):
            attrs = {"from": "bob@localhost", "to": "alice@localhost/gone", "type": type}
            self.server.host.send(Element(ns.CLIENT, "presence", attrs))
        self.assertEqual(shown(alice), [("bob@localhost", "subscribe")])
        self.assertEqual(self.server.account("alice").roster["bob@localhost"], KNOWN | PENDING_OUT | PENDING_IN)

    def test_cancelWhilePending(self) -> None:
        """A request that is withdrawn is not shown at the next login (3.3.3)."""
        alice, bob = self.begin(0, 0)
        bob.close()
        alice.send("<presence to='bob@localhost' type='subscribe'/><presence to='bob@localhost' type='unsubscribe'/>")
        again = self.server.client("bob/two")
        again.available()
        self.assertEqual(presences(again), [("bob@localhost/two", "")])
        self.assertEqual(self.server.account("bob").roster, {})

    def test_everyLogin(self) -> None:
        """An unanswered request comes with every initial presence, and only with that (3.1.3)."""
        alice, bob = self.begin(0, 0)
        alice.send("<presence to='bob@localhost' type='subscribe'/>")
        self.assertEqual(presences(bob), [("alice@localhost", "subscribe")])
        for name in ("two", "three"):
            again = self.server.client(f"bob/{name}")
            again.available()
            self.assertIn(("alice@localhost", "subscribe"), presences(again))
            again.available()
            self.assertNotIn(("alice@localhost", "subscribe"), presences(again))

    def test_requestOfTheBlocked(self) -> None:
        """A request of somebody who was blocked afterwards is not shown (XEP-0191 3.3)."""
        alice, bob = self.begin(0, 0)
        alice.send("<presence to='bob@localhost' type='subscribe'/>")
        ask(bob, "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>", "set")
        again = self.server.client("bob/two")
        again.available()
        self.assertNotIn(("alice@localhost", "subscribe"), presences(again))

    def test_ownFullAddress(self) -> None:
        """Nobody subscribes to their own resource."""
        alice, _ = self.begin(0, 0)
        alice.send("<presence to='alice@localhost/one' type='subscribe'/>")
        self.assertEqual((alice.take(), self.server.account("alice").roster), ([], {}))


class BlockedResourceTests(SynchronousTestCase):
    """A blocked full address is that resource only (XEP-0191 section 6), on every way."""

    def setUp(self) -> None:
        """Bob, who sees Alice's presence, blocks one of her resources."""
        self.server = MemoryServer(CHAT)
        self.server.befriend("alice", "bob")
        self.bob = self.server.client("bob/desk", available=True)
        ask(self.bob, "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost/phone'/></block>", "set")
        self.phone = self.server.client("alice/phone")
        self.desk = self.server.client("alice/desk")

    def test_broadcast(self) -> None:
        """Its presence does not come, that of the others does."""
        self.phone.available()
        self.desk.available()
        self.assertEqual(presences(self.bob), [("alice@localhost/desk", "")])

    def test_login(self) -> None:
        """Nor is it shown at login, or to a probe."""
        self.phone.available()
        self.desk.available()
        tablet = self.server.client("bob/tablet")
        tablet.available()
        tablet.send("<presence to='alice@localhost' type='probe'/>")
        self.assertNotIn(("alice@localhost/phone", ""), presences(tablet))


class Careless(HostModule):
    """A module with mistakes in it."""

    name = "careless"

    @presence.spreading
    def onSpreading(self, account: object, contacts: list[str]) -> list[str]:
        """Fail."""
        raise ValueError("spreading")

    @iq.get("urn:test:forbidden", "query", to=ACCOUNT)
    def onForbidden(self, transit: Transit) -> Deferred[Element]:
        """Answer with a character that XML forbids."""
        waiting: Deferred[Element] = Deferred()
        self.host.clock.callLater(1, waiting.callback, transit.result(Element("urn:test", "x", None, "\x00")))
        return waiting

    @iq.get("urn:test:junk", "query", to=ACCOUNT)
    def onJunk(self, transit: Transit) -> Deferred[object]:
        """Answer with something that is no answer."""
        return succeed(7)

    @presence.sending(Phase.POLICY, types=("",), payload="urn:test:reply")
    def onSending(self, transit: Transit) -> Element:
        """Reply to presence, which is not for modules to do."""
        return transit.result()


class CarelessModuleTests(SynchronousTestCase):
    """Exactly one answer, and no session that hangs, whatever a module does."""

    def setUp(self) -> None:
        """A host with that module."""
        self.server = MemoryServer(CHAT)
        attach(self.server, Careless)
        self.alice = self.server.client("alice/phone")

    def test_unwritableAnswer(self) -> None:
        """An answer that cannot be sent becomes an error; what waited behind it follows."""
        self.alice.send("<iq type='get' id='a'><query xmlns='urn:test:forbidden'/></iq>")
        self.alice.send(f"<iq type='get' id='b'>{ROSTER}</iq>")
        self.server.advance(2)
        answers = [(stanza.get("id"), stanza.get("type")) for stanza in self.alice.take()]
        self.assertEqual(answers, [("a", "error"), ("b", "result")])
        self.flushLoggedErrors(ValueError)

    def test_junk(self) -> None:
        """So does an answer that is none."""
        self.assertEqual(ask(self.alice, "<query xmlns='urn:test:junk'/>").get("type"), "error")

    def test_spreading(self) -> None:
        """Presence that a policy could not judge goes to no contact; a session's end is complete."""
        self.server.befriend("alice", "bob")
        bob = self.server.client("bob/desk", available=True)
        self.alice.available()
        chat(bob, "alice@localhost", "hello")
        self.alice.lose()
        self.assertEqual(presences(bob), [])
        self.assertEqual(self.server.account("alice").sessions, {})
        self.flushLoggedErrors(ValueError)

    def test_replyToPresence(self) -> None:
        """A reply where none belongs does not stop the pair."""
        self.alice.send("<presence to='alice@localhost'><x xmlns='urn:test:reply'/></presence>")
        self.alice.take()
        self.assertEqual(ask(self.alice, ROSTER).get("type"), "result")
        self.flushLoggedErrors()


class Slow(HostModule):
    """Waits on the sender's side of IQs, and again before it answers them."""

    name = "slow"
    waits: list[Deferred[object]] = []

    def _wait(self) -> Deferred[object]:
        self.waits.append(Deferred())
        return self.waits[-1]

    @iq.sending(Phase.POLICY, types=("get",), payload="urn:test:twice")
    def onSending(self, transit: Transit) -> Deferred[object]:
        """Think about it."""
        return self._wait()

    @iq.get("urn:test:twice", "query", to=ACCOUNT)
    def onGet(self, transit: Transit) -> Deferred[object]:
        """Think about the answer."""
        return self._wait().addCallback(lambda _: transit.result())


class NestedWaitTests(SynchronousTestCase):
    """A stanza that waits more than once keeps those behind it until it is through (RFC 6120 10.1)."""

    def test_answersInOrder(self) -> None:
        """The end of the first wait is not the end of the second."""
        server = MemoryServer(CHAT)
        waits: list[Deferred[object]] = []
        Slow.waits = waits
        attach(server, Slow)
        alice = server.client("alice/phone")
        alice.send("<iq type='get' id='a'><query xmlns='urn:test:twice'/></iq>")
        alice.send(f"<iq type='get' id='b'>{ROSTER}</iq>")
        waits[0].callback(None)
        self.assertEqual(alice.take(), [])
        waits[1].callback(None)
        self.assertEqual([stanza.get("id") for stanza in alice.take()], ["a", "b"])


class RefusalTests(SynchronousTestCase):
    """Errors for stanzas that are wrong in themselves (RFC 6120 8.3.1)."""

    def setUp(self) -> None:
        """Two who know each other."""
        self.server = MemoryServer(CHAT)
        self.server.befriend("alice", "bob")
        self.alice = self.server.client("alice/phone")

    def test_comesFromTheAddressee(self) -> None:
        """The error swaps the addresses, so that the client can match it."""
        two = "<a xmlns='urn:test'/><b xmlns='urn:test'/>"
        self.alice.send(f"<iq type='get' id='x' to='bob@localhost'>{two}</iq>")
        answer = self.alice.next("iq")
        self.assertEqual((condition(answer), answer.get("from")), ("bad-request", "bob@localhost"))
        self.assertEqual(answer.get("id"), "x")

    def test_ownAccount(self) -> None:
        """Without ``to`` it comes from the own account."""
        self.alice.send("<iq type='get' id='x'/>")
        self.assertIn(self.alice.next("iq").get("from"), (None, "alice@localhost"))

    def test_malformed(self) -> None:
        """A malformed address cannot be repeated."""
        self.alice.send("<iq type='get' id='x' to='@@'><a xmlns='urn:test'/></iq>")
        answer = self.alice.next("iq")
        self.assertEqual((condition(answer), answer.get("from")), ("jid-malformed", "localhost"))

    def test_withoutId(self) -> None:
        """An IQ without an id is answered with an empty one."""
        self.alice.send("<iq type='get'><a xmlns='urn:test'/></iq>")
        self.assertEqual(self.alice.next("iq").get("id"), "")

    def test_resultsAreNeverAnswered(self) -> None:
        """Results and errors, right or wrong, to whomever, get no answer (8.2.3)."""
        two = "<a xmlns='urn:test'/><b xmlns='urn:test'/>"
        for to in ("bob@localhost", "bob@localhost/gone", "nobody@localhost", "localhost", "elsewhere.example"):
            for kind, content in (("result", ""), ("error", ""), ("result", two)):
                self.alice.send(f"<iq type='{kind}' id='x' to='{to}'>{content}</iq>")
        self.assertEqual(self.alice.take(), [])

    def test_unavailableToUnknownDomain(self) -> None:
        """What cannot be routed is reported, directed presence of both kinds too (10.4.3); probes never (4.3)."""
        for type, expected in ((" type='unavailable'", 1), ("", 1), (" type='unsubscribe'", 1), (" type='probe'", 0)):
            self.alice.send(f"<presence to='bob@elsewhere.example'{type}/>")
            errors = [stanza for stanza in self.alice.take() if stanza.get("type") == "error"]
            self.assertEqual(len(errors), expected, type)


class RosterAccessTests(SynchronousTestCase):
    """Rosters are their owners' (2.1.5, 2.3.3)."""

    def test_foreignSet(self) -> None:
        """A roster set by somebody else is forbidden; strangers do not even learn that there is an account (8.1)."""
        server = MemoryServer(CHAT)
        server.account("bob")
        server.account("carol").setState("alice@localhost", KNOWN)
        alice = server.client("alice/phone")
        item = "<query xmlns='jabber:iq:roster'><item jid='dan@localhost'/></query>"
        for name, expected in (("carol", "forbidden"), ("bob", "service-unavailable"), ("x", "service-unavailable")):
            self.assertEqual(condition(ask(alice, item, "set", f"{name}@localhost")), expected)
        self.assertEqual(server.account("bob").roster, {})
        self.assertEqual(server.account("carol").roster, {"alice@localhost": KNOWN})
