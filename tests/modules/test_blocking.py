"""Block lists: matching, both directions, presence, pushes, bounds (XEP-0191)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.hub.kit import SlowServer, ask, bodies, chat, condition, errors, presences
from xmppservice.hub.contracts.delivery import IBlockPolicy
from xmppservice.protocol.jid import JID
from xmppservice.protocol.subscription import PENDING_IN
from xmppservice.testing import MemoryClient, MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

MODULES = ("roster", "offline", "blocking")


def block(client: MemoryClient, *jids: str, command: str = "block") -> Element:
    """Block (or unblock) addresses; the answer."""
    items = "".join(f"<item jid='{jid}'/>" for jid in jids)
    return ask(client, f"<{command} xmlns='urn:xmpp:blocking'>{items}</{command}>", "set")


def unblock(client: MemoryClient, *jids: str) -> Element:
    """Unblock addresses, or all; the answer."""
    return block(client, *jids, command="unblock")


def blocked(client: MemoryClient) -> list[str]:
    """The block list."""
    payload = ask(client, "<blocklist xmlns='urn:xmpp:blocking'/>").find(ns.BLOCKING, "blocklist")
    assert payload is not None
    return [item.attrs["jid"] for item in payload.elements()]


class BlockingCase(SynchronousTestCase):
    """Alice blocks, Bob is her friend; both are online."""

    options: Mapping[str, Mapping[str, Any]] = {}
    modules: tuple[str, ...] = MODULES

    def setUp(self) -> None:
        """Two friends."""
        self.server = MemoryServer(self.modules, self.options)
        self.server.befriend("alice", "bob")
        self.alice = self.server.client("alice/phone", available=True)
        self.bob = self.server.client("bob/desk", available=True)
        self.alice.take()


class MatchingTests(BlockingCase):
    """Section 6."""

    def check(self, entry: str, matching: str, others: str) -> None:
        """Block `entry` and compare which addresses are refused."""
        block(self.alice, entry)
        policy = self.server.module("blocking")
        account = self.server.account("alice")
        for text in matching.split():
            self.assertTrue(policy.refuses(account, JID.parse(text)), text)
        for text in others.split():
            self.assertFalse(policy.refuses(account, JID.parse(text)), text)

    def test_provides(self) -> None:
        """The module is what the hub asks for."""
        verifyObject(IBlockPolicy, self.server.module("blocking"))

    def test_full(self) -> None:
        """One resource of a user."""
        self.check("eve@evil.example/a", "eve@evil.example/a", "eve@evil.example/b eve@evil.example evil.example")

    def test_bare(self) -> None:
        """A user with all resources."""
        self.check("eve@evil.example", "eve@evil.example eve@evil.example/b", "eva@evil.example evil.example")

    def test_domain(self) -> None:
        """A domain with all that is there."""
        self.check("evil.example", "evil.example evil.example/x eve@evil.example eve@evil.example/b", "a.evil.example")

    def test_domainResource(self) -> None:
        """One resource of a domain."""
        self.check("evil.example/x", "evil.example/x", "evil.example eve@evil.example/x evil.example/y")

    def test_spelling(self) -> None:
        """Another spelling of the same address is the same address (I06)."""
        self.check("EVE@Evil.Example", "eve@evil.example", "")
        self.assertEqual(blocked(self.alice), ["eve@evil.example"])

    def test_ownDomain(self) -> None:
        """Blocking the own domain spares the own resources and the server itself."""
        self.check("localhost", "bob@localhost bob@localhost/desk", "alice@localhost alice@localhost/b localhost")


class ListTests(BlockingCase):
    """The list and its commands (3.2 to 3.5)."""

    def test_empty(self) -> None:
        """Nobody is blocked at first."""
        self.assertEqual(blocked(self.alice), [])

    def test_blockAndUnblock(self) -> None:
        """Entries come and go."""
        self.assertEqual(block(self.alice, "a@x.example", "b@x.example").get("type"), "result")
        self.assertEqual(blocked(self.alice), ["a@x.example", "b@x.example"])
        unblock(self.alice, "a@x.example")
        self.assertEqual(blocked(self.alice), ["b@x.example"])

    def test_unblockAll(self) -> None:
        """An empty unblock empties the list (3.5)."""
        block(self.alice, "a@x.example", "b@x.example")
        unblock(self.alice)
        self.assertEqual(blocked(self.alice), [])

    def test_stored(self) -> None:
        """The list survives the account's leaving the memory."""
        block(self.alice, "a@x.example", "b@x.example")
        unblock(self.alice, "b@x.example")
        self.alice.close()
        self.server.host.accounts.forget("alice")
        self.assertEqual(blocked(self.server.client("alice/phone")), ["a@x.example"])

    def test_nobody(self) -> None:
        """A block without items is a mistake (3.3)."""
        self.assertEqual(condition(block(self.alice)), "bad-request")

    def test_malformed(self) -> None:
        """So is an item without a valid address; nothing of the command is done."""
        self.assertEqual(condition(block(self.alice, "a@x.example", "@@")), "jid-malformed")
        answer = ask(self.alice, "<block xmlns='urn:xmpp:blocking'><item/></block>", "set")
        self.assertEqual(condition(answer), "bad-request")
        self.assertEqual(blocked(self.alice), [])

    def test_pushes(self) -> None:
        """Who has asked for the list is told of every change, others are not."""
        desk, idle = self.server.client("alice/desk"), self.server.client("alice/idle")
        blocked(desk)
        block(self.alice, "a@x.example")
        unblock(self.alice, "a@x.example")
        unblock(self.alice)
        told = [(stanza.get("type"), stanza.get("to"), stanza.elements()[0]) for stanza in desk.take()]
        self.assertEqual({(type, to) for type, to, _ in told}, {("set", "alice@localhost/desk")})
        self.assertEqual(
            [(payload.name, [item.get("jid") for item in payload.elements()]) for _, _, payload in told],
            [("block", ["a@x.example"]), ("unblock", ["a@x.example"]), ("unblock", [])],
        )
        self.assertEqual(idle.take(), [])

    def test_othersList(self) -> None:
        """Nobody reads or changes another's list."""
        for name, type in (("blocklist", "get"), ("unblock", "set")):
            payload = f"<{name} xmlns='urn:xmpp:blocking'/>"
            self.assertEqual(condition(ask(self.bob, payload, type, to="alice@localhost")), "service-unavailable")


class IncomingTests(BlockingCase):
    """Stanzas from a blocked contact (3.3)."""

    def setUp(self) -> None:
        """Alice has blocked Bob."""
        super().setUp()
        block(self.alice, "bob@localhost")
        self.alice.take()
        self.bob.take()

    def test_message(self) -> None:
        """Messages are refused as if the account were not there, and not kept."""
        chat(self.bob, "alice@localhost", "psst")
        chat(self.bob, "alice@localhost/phone", "psst")
        self.assertEqual(errors(self.bob), ["service-unavailable"] * 2)
        self.alice.close()
        chat(self.bob, "alice@localhost", "psst")
        self.assertEqual(errors(self.bob), ["service-unavailable"])
        self.assertEqual(self.server.account("alice").offline, 0)

    def test_headline(self) -> None:
        """A headline vanishes, as it would for an unknown account."""
        chat(self.bob, "alice@localhost/phone", "news", "headline")
        self.assertEqual((self.alice.take(), self.bob.take()), ([], []))

    def test_iq(self) -> None:
        """Requests are refused, also those that the server would answer; answers vanish."""
        for to in ("alice@localhost", "alice@localhost/phone"):
            self.assertEqual(condition(ask(self.bob, "<ping xmlns='urn:xmpp:ping'/>", to=to)), "service-unavailable")
        self.bob.send("<iq type='result' id='x' to='alice@localhost/phone'/>")
        self.assertEqual((self.alice.take(), self.bob.take()), ([], []))

    def test_presence(self) -> None:
        """Presence, directed or not, vanishes."""
        self.bob.send("<presence><show>away</show></presence>")
        self.bob.send("<presence to='alice@localhost'/>")
        self.bob.take()
        self.assertEqual(self.alice.take(), [])

    def test_probe(self) -> None:
        """A probe gets no answer, not even that nobody is there."""
        self.bob.send("<presence to='alice@localhost' type='probe'/>")
        self.assertEqual(self.bob.take(), [])

    def test_subscribe(self) -> None:
        """A subscription request of a blocked stranger vanishes."""
        block(self.alice, "mallory@localhost")
        self.alice.take()
        mallory = self.server.client("mallory/desk")
        mallory.send("<presence to='alice@localhost' type='subscribe'/>")
        self.assertEqual((self.alice.take(), errors(mallory)), ([], []))
        self.assertNotEqual(self.server.account("alice").roster.get("mallory@localhost", 0), PENDING_IN)

    def test_loginOfTheBlocked(self) -> None:
        """A blocked contact that comes online sees nobody and is seen by nobody."""
        self.bob.close()
        self.alice.take()
        bob = self.server.client("bob/desk")
        bob.available()
        self.assertEqual(presences(bob), [("bob@localhost/desk", "")])
        self.assertEqual(self.alice.take(), [])

    def test_ownLogin(self) -> None:
        """The user that blocks does not see the blocked contact at login either."""
        desk = self.server.client("alice/desk")
        desk.available()
        self.assertNotIn(("bob@localhost/desk", ""), presences(desk))
        self.assertEqual(self.bob.take(), [])


class OutgoingTests(BlockingCase):
    """Stanzas to a blocked contact (3.3)."""

    def setUp(self) -> None:
        """Alice has blocked Bob."""
        super().setUp()
        block(self.alice, "bob@localhost")
        self.alice.take()
        self.bob.take()

    def refused(self, stanza: str) -> None:
        """The stanza comes back with the error of 3.3, and Bob hears nothing."""
        self.alice.send(stanza)
        (answer,) = self.alice.take()
        self.assertEqual(condition(answer), "not-acceptable")
        error = answer.find(ns.CLIENT, "error")
        assert error is not None
        self.assertEqual(error.get("type"), "cancel")
        self.assertIsNotNone(error.find(ns.BLOCKING_ERRORS, "blocked"))
        self.assertEqual(answer.get("from"), "bob@localhost")
        self.assertEqual(self.bob.take(), [])

    def test_message(self) -> None:
        """A message is not sent."""
        self.refused("<message to='bob@localhost' type='chat'><body>hi</body></message>")

    def test_iq(self) -> None:
        """A request is not sent."""
        self.refused("<iq type='get' id='x' to='bob@localhost'><ping xmlns='urn:xmpp:ping'/></iq>")

    def test_presence(self) -> None:
        """Directed presence and subscription requests are not sent."""
        self.refused("<presence to='bob@localhost'/>")
        self.refused("<presence to='bob@localhost' type='subscribe'/>")

    def test_broadcast(self) -> None:
        """A change of presence does not reach the blocked contact; others get it."""
        self.server.befriend("alice", "carol")
        carol = self.server.client("carol/desk", available=True)
        self.alice.send("<presence><show>away</show></presence>")
        self.assertEqual(self.bob.take(), [])
        self.assertEqual(presences(carol), [("alice@localhost/phone", "")])

    def test_ownSessions(self) -> None:
        """Own sessions are never cut off from each other, whatever the list says."""
        block(self.alice, "alice@localhost", "localhost")
        desk = self.server.client("alice/desk", available=True)
        self.alice.take()
        chat(desk, "alice@localhost/phone", "note")
        self.assertEqual(bodies(self.alice), ["note"])
        self.assertEqual(blocked(desk)[0], "alice@localhost")


class VisibilityTests(BlockingCase):
    """Blocking looks like going offline, unblocking like coming back (3.3, 3.4)."""

    def test_block(self) -> None:
        """A subscriber sees the account go."""
        block(self.alice, "bob@localhost")
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "unavailable")])

    def test_blockDomain(self) -> None:
        """So does one that is blocked by its domain."""
        block(self.alice, "localhost")
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "unavailable")])

    def test_blockResource(self) -> None:
        """Blocking one resource concerns that one only."""
        phone = self.server.client("bob/phone", available=True)
        self.bob.take()
        block(self.alice, "bob@localhost/desk")
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "unavailable")])
        self.assertEqual(presences(phone), [])

    def test_again(self) -> None:
        """Blocking twice tells once."""
        block(self.alice, "bob@localhost")
        self.bob.take()
        block(self.alice, "bob@localhost", "localhost")
        self.assertEqual(self.bob.take(), [])

    def test_stranger(self) -> None:
        """Somebody who could not see the account learns nothing from being blocked."""
        mallory = self.server.client("mallory/desk", available=True)
        block(self.alice, "mallory@localhost")
        self.assertEqual(mallory.take(), [])

    def test_directed(self) -> None:
        """Who had directed presence sees it taken back, from the session that gave it only."""
        mallory = self.server.client("mallory/desk", available=True)
        self.server.client("alice/desk", available=True)
        self.alice.send("<presence to='mallory@localhost/desk'/>")
        mallory.take()
        block(self.alice, "mallory@localhost")
        self.assertEqual(presences(mallory), [("alice@localhost/phone", "unavailable")])

    def test_unblock(self) -> None:
        """A subscriber sees the account again, and the account the contact."""
        block(self.alice, "bob@localhost")
        self.bob.take()
        self.alice.take()
        unblock(self.alice, "bob@localhost")
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "")])
        self.assertEqual(presences(self.alice), [("bob@localhost/desk", "")])

    def test_unblockAll(self) -> None:
        """The same for unblocking everybody."""
        block(self.alice, "localhost", "a@x.example")
        self.bob.take()
        unblock(self.alice)
        self.assertEqual(presences(self.bob), [("alice@localhost/phone", "")])

    def test_stillBlocked(self) -> None:
        """Who remains blocked by another entry sees nothing."""
        block(self.alice, "localhost", "bob@localhost")
        self.bob.take()
        unblock(self.alice, "bob@localhost")
        self.assertEqual(self.bob.take(), [])

    def test_offlineUser(self) -> None:
        """A user without presence has none to take back."""
        self.alice.send("<presence type='unavailable'/>")
        self.bob.take()
        block(self.alice, "bob@localhost")
        unblock(self.alice)
        self.assertEqual(self.bob.take(), [])


class LimitTests(BlockingCase):
    """The bound of the list."""

    options = {"blocking": {"limit": 2}}

    def test_limit(self) -> None:
        """A command that does not fit is refused as a whole; entries that are there do not count again."""
        block(self.alice, "a@x.example")
        self.assertEqual(condition(block(self.alice, "b@x.example", "c@x.example")), "not-allowed")
        self.assertEqual(blocked(self.alice), ["a@x.example"])
        self.assertEqual(block(self.alice, "a@x.example", "b@x.example").get("type"), "result")


class CommitTests(SynchronousTestCase):
    """The result says that the change is stored."""

    def setUp(self) -> None:
        """Commits are made by hand."""
        self.server = SlowServer(("blocking",))
        self.alice = self.server.client("alice/phone")
        blocked(self.alice)
        self.server.hold()
        self.alice.send(
            "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='a@x.example'/></block></iq>"
        )

    def test_afterCommit(self) -> None:
        """It works at once, and is told after the commit."""
        self.assertEqual(self.server.account("alice").blocks, {"a@x.example"})
        self.assertEqual(self.alice.take(), [])
        self.server.commit()
        self.assertEqual([stanza.get("type") for stanza in self.alice.take()], ["result", "set"])

    def test_failure(self) -> None:
        """A list that could not be stored is as before, and the client knows."""
        self.server.slow.full = True
        self.server.commit()
        self.assertEqual(errors(self.alice), ["internal-server-error"])
        self.assertEqual(self.server.account("alice").blocks, frozenset())
