"""Contact lists: sets, removals, pushes, versions and bounds (RFC 6121 section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import SlowServer, ask, condition, manage, presences
from xmppservice.protocol.subscription import KNOWN, PENDING_IN
from xmppservice.testing import MemoryClient, MemoryServer
from xmppservice.testing.server import result
from xmppservice.wire import ns
from xmppservice.wire.element import Element

MODULES = ("roster",)


def get(client: MemoryClient, ver: str | None = None) -> Element:
    """Ask for the roster; the whole answer."""
    attribute = "" if ver is None else f" ver='{ver}'"
    return ask(client, f"<query xmlns='jabber:iq:roster'{attribute}/>")


def put(client: MemoryClient, item: str, **keywords: str) -> Element:
    """Send a roster set with these items; the whole answer."""
    return ask(client, f"<query xmlns='jabber:iq:roster'>{item}</query>", "set", **keywords)


def items(stanza: Element) -> list[Element]:
    """The items of a roster result or push."""
    query = stanza.find(ns.ROSTER, "query")
    return [] if query is None else query.elements()


def version(stanza: Element) -> str:
    """The version in a roster result or push."""
    query = stanza.find(ns.ROSTER, "query")
    assert query is not None
    return query.attrs["ver"]


def pushes(client: MemoryClient) -> list[Element]:
    """The items of the pushes that came; takes everything."""
    return [
        item
        for stanza in client.take()
        if stanza.name == "iq" and stanza.get("type") == "set"
        for item in items(stanza)
    ]


class RosterCase(SynchronousTestCase):
    """Alice with one client that has asked for the roster."""

    options: Mapping[str, Mapping[str, Any]] = {}

    def setUp(self) -> None:
        """A server and Alice's client."""
        self.server = MemoryServer(MODULES, self.options)
        self.alice = self.server.client("alice/phone")
        get(self.alice)

    def contacts(self) -> dict[str, dict[str, str]]:
        """Alice's roster as a fresh client sees it."""
        client = self.server.client("alice/check")
        found = {item.attrs["jid"]: dict(item.attrs) for item in items(get(client))}
        client.close()
        return found


class FeatureTests(RosterCase):
    """What a stream is told."""

    def test_features(self) -> None:
        """Roster versions and pre-approval are offered with binding, nowhere else."""
        found = self.server.host.streamFeatures("bind", self.alice.stream)
        self.assertEqual([feature.ns for feature in found], [ns.ROSTER_VERSION, ns.PRE_APPROVAL])
        self.assertEqual(self.server.host.streamFeatures("auth", self.alice.stream), [])


class GetTests(RosterCase):
    """Roster get (2.2)."""

    def test_empty(self) -> None:
        """An empty roster is an empty query."""
        answer = get(self.alice)
        self.assertEqual(answer.get("type"), "result")
        self.assertEqual(items(answer), [])

    def test_item(self) -> None:
        """Name, subscription and groups come back as they were set."""
        put(self.alice, "<item jid='bob@localhost' name='Bob &amp; Co'><group>A</group><group>B</group></item>")
        (item,) = items(get(self.alice))
        self.assertEqual(
            item.attrs, {"jid": "bob@localhost", "name": "Bob & Co", "subscription": "none"}
        )
        self.assertEqual([group.text for group in item.elements()], ["A", "B"])

    def test_pendingInIsNotShown(self) -> None:
        """Somebody who merely asks is no contact (2.1.2.5)."""
        self.server.client("bob/desk").send("<presence to='alice@localhost' type='subscribe'/>")
        self.assertEqual(self.server.account("alice").roster, {"bob@localhost": PENDING_IN})
        self.assertEqual(items(get(self.alice)), [])

    def test_withItems(self) -> None:
        """A get with content is a mistake."""
        answer = ask(self.alice, "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query>")
        self.assertEqual(condition(answer), "bad-request")

    def test_othersRoster(self) -> None:
        """Nobody reads another's roster."""
        answer = ask(self.server.client("bob/desk"), "<query xmlns='jabber:iq:roster'/>", to="alice@localhost")
        self.assertEqual(condition(answer), "service-unavailable")

    def test_ownAddress(self) -> None:
        """The own bare address as ``to`` means the same as none."""
        answer = ask(self.alice, "<query xmlns='jabber:iq:roster'/>", to="alice@localhost")
        self.assertEqual(answer.get("type"), "result")


class SetTests(RosterCase):
    """Adding and changing (2.3, 2.4)."""

    def refused(self, item: str) -> str:
        """The condition with which a set is refused; nothing may have changed."""
        answer = put(self.alice, item)
        self.assertEqual(self.contacts(), {})
        return condition(answer)

    def test_push(self) -> None:
        """All interested sessions get the push, the setting one too; others do not (2.1.6)."""
        desk, idle = self.server.client("alice/desk"), self.server.client("alice/idle")
        get(desk)
        put(self.alice, "<item jid='bob@localhost' name='Bob'/>")
        for client in (self.alice, desk):
            push = client.next("iq")
            self.assertEqual((push.get("to"), push.get("type")), (client.jid.full, "set"))
            self.assertIn(push.get("from"), (None, "alice@localhost"))
            self.assertEqual([item.get("name") for item in items(push)], ["Bob"])
        self.assertEqual(idle.take(), [])

    def test_answerToPushIsIgnored(self) -> None:
        """The result that a client sends for a push goes nowhere."""
        put(self.alice, "<item jid='bob@localhost'/>")
        push = self.alice.next("iq")
        self.alice.send(f"<iq type='result' id='{push.get('id')}'/>")
        self.assertEqual(self.alice.take(), [])

    def test_change(self) -> None:
        """A set replaces name and groups and keeps the subscription."""
        self.server.befriend("alice", "bob")
        put(self.alice, "<item jid='bob@localhost' name='Bob'><group>A</group></item>")
        put(self.alice, "<item jid='bob@localhost' name='Robert'/>")
        (item,) = items(get(self.alice))
        self.assertEqual((item.get("name"), item.get("subscription"), item.elements()), ("Robert", "both", []))

    def test_subscriptionCannotBeSet(self) -> None:
        """States other than remove are ignored (2.1.2.5), and so is ask."""
        put(self.alice, "<item jid='bob@localhost' subscription='both' ask='subscribe' approved='true'/>")
        self.assertEqual(self.contacts(), {"bob@localhost": {"jid": "bob@localhost", "subscription": "none"}})

    def test_normalForm(self) -> None:
        """Addresses are normalised, and the resource is dropped."""
        put(self.alice, "<item jid='BOB@LocalHost/desk'/>")
        self.assertEqual(list(self.contacts()), ["bob@localhost"])

    def test_twoItems(self) -> None:
        """A set has exactly one item (2.1.5)."""
        self.assertEqual(self.refused("<item jid='bob@localhost'/><item jid='carol@localhost'/>"), "bad-request")

    def test_noItem(self) -> None:
        """A set without an item is a mistake."""
        self.assertEqual(self.refused(""), "bad-request")

    def test_noAddress(self) -> None:
        """An item without an address is a mistake."""
        self.assertEqual(self.refused("<item name='Bob'/>"), "bad-request")

    def test_malformedAddress(self) -> None:
        """An address that is none is told so."""
        self.assertEqual(self.refused("<item jid='@@@'/>"), "jid-malformed")

    def test_duplicateGroups(self) -> None:
        """A contact is in a group once (2.3.3)."""
        self.assertEqual(
            self.refused("<item jid='bob@localhost'><group>A</group><group>A</group></item>"), "bad-request"
        )

    def test_emptyGroup(self) -> None:
        """A group has a name (2.3.3)."""
        self.assertEqual(self.refused("<item jid='bob@localhost'><group/></item>"), "not-acceptable")

    def test_longName(self) -> None:
        """Names have a limit (2.3.3)."""
        self.assertEqual(self.refused(f"<item jid='bob@localhost' name='{'x' * 1024}'/>"), "not-acceptable")

    def test_longGroup(self) -> None:
        """Group names have it too."""
        self.assertEqual(
            self.refused(f"<item jid='bob@localhost'><group>{'x' * 1024}</group></item>"), "not-acceptable"
        )

    def test_manyGroups(self) -> None:
        """The number of groups is bounded."""
        groups = "".join(f"<group>{number}</group>" for number in range(101))
        self.assertEqual(self.refused(f"<item jid='bob@localhost'>{groups}</item>"), "not-acceptable")

    def test_self(self) -> None:
        """Nobody is a contact of their own."""
        self.assertEqual(self.refused("<item jid='alice@localhost'/>"), "not-allowed")

    def test_spoofedPush(self) -> None:
        """A roster set from somebody else never changes anything (I02)."""
        mallory = self.server.client("mallory/desk")
        answer = put(mallory, "<item jid='evil@localhost' subscription='both'/>", to="alice@localhost")
        self.assertEqual(condition(answer), "service-unavailable")
        answer = put(mallory, "<item jid='evil@localhost'/>", to="alice@localhost/phone")
        self.assertEqual(condition(answer), "service-unavailable")
        self.assertEqual((self.alice.take(), self.contacts()), ([], {}))

    def test_spoofedPushFromFriend(self) -> None:
        """A friend's reaches the client with the friend's own address, and leaves the roster alone (I02)."""
        self.server.befriend("alice", "mallory")
        mallory = self.server.client("mallory/desk")
        mallory.send(
            "<iq type='set' id='x' to='alice@localhost/phone'>"
            "<query xmlns='jabber:iq:roster'><item jid='evil@localhost'/></query></iq>"
        )
        self.assertEqual(self.alice.next("iq").get("from"), "mallory@localhost/desk")
        self.assertNotIn("evil@localhost", self.contacts())


class RemovalTests(RosterCase):
    """Removing a contact (2.5)."""

    def test_unknown(self) -> None:
        """Only contacts can be removed (2.5.3)."""
        answer = put(self.alice, "<item jid='bob@localhost' subscription='remove'/>")
        self.assertEqual(condition(answer), "item-not-found")

    def test_push(self) -> None:
        """The push says that the contact is gone."""
        put(self.alice, "<item jid='bob@localhost' name='Bob'/>")
        self.alice.take()
        put(self.alice, "<item jid='bob@localhost' subscription='remove'/>")
        self.assertEqual(
            [item.attrs for item in pushes(self.alice)], [{"jid": "bob@localhost", "subscription": "remove"}]
        )
        self.assertEqual(self.contacts(), {})

    def test_endsSubscriptions(self) -> None:
        """Both directions end on both sides, and the contact sees the user go (2.5.2)."""
        self.server.befriend("alice", "bob")
        self.alice.available()
        bob = self.server.client("bob/desk")
        get(bob)
        bob.available()
        bob.take()
        self.alice.take()
        put(self.alice, "<item jid='bob@localhost' subscription='remove'/>")
        told = bob.take()
        kinds = [(stanza.get("from"), stanza.get("type")) for stanza in told if stanza.name == "presence"]
        self.assertEqual(
            kinds,
            [
                ("alice@localhost/phone", "unavailable"),
                ("alice@localhost", "unsubscribe"),
                ("alice@localhost", "unsubscribed"),
            ],
        )
        (item,) = items(get(bob))
        self.assertEqual(item.get("subscription"), "none")
        self.assertIn(("bob@localhost/desk", "unavailable"), presences(self.alice))

    def test_withdrawsRequest(self) -> None:
        """A request of ours that waits is withdrawn."""
        bob = self.server.account("bob")
        self.alice.send("<presence to='bob@localhost' type='subscribe'/>")
        self.assertEqual(bob.roster, {"alice@localhost": PENDING_IN})
        put(self.alice, "<item jid='bob@localhost' subscription='remove'/>")
        self.assertEqual(bob.roster, {})


class VersionTests(RosterCase):
    """Roster versions (2.6)."""

    def setUp(self) -> None:
        """Alice with Bob in her roster, and the version that her client has."""
        super().setUp()
        put(self.alice, "<item jid='bob@localhost' name='Bob'/>")
        self.alice.take()
        self.version = version(get(self.alice))

    def test_pushHasVersion(self) -> None:
        """A push carries the version that the roster has with it."""
        put(self.alice, "<item jid='carol@localhost'/>")
        self.assertEqual(version(self.alice.next("iq")), version(get(self.alice)))

    def test_upToDate(self) -> None:
        """Nothing new: an empty result and no pushes."""
        answer = get(self.alice, self.version)
        self.assertEqual((answer.children, self.alice.take()), ([], []))

    def test_differences(self) -> None:
        """Few changes come as pushes after an empty result, in order (2.6.3)."""
        put(self.alice, "<item jid='carol@localhost'/>")
        put(self.alice, "<item jid='bob@localhost' subscription='remove'/>")
        desk = self.server.client("alice/desk")
        self.assertEqual(get(desk, self.version).children, [])
        self.assertEqual(
            [(item.get("jid"), item.get("subscription")) for item in pushes(desk)],
            [("carol@localhost", "none"), ("bob@localhost", "remove")],
        )

    def test_contactBecameRequest(self) -> None:
        """Who was removed and then asked is still gone for a client that knew them."""
        put(self.alice, "<item jid='bob@localhost' subscription='remove'/>")
        self.server.client("bob/desk").send("<presence to='alice@localhost' type='subscribe'/>")
        desk = self.server.client("alice/desk")
        self.assertEqual(get(desk, self.version).children, [])
        self.assertEqual([item.get("subscription") for item in pushes(desk)], ["remove"])

    def test_manyChanges(self) -> None:
        """So many changes that the whole roster is shorter."""
        for number in range(25):
            put(self.alice, f"<item jid='c{number}@localhost'/>")
        desk = self.server.client("alice/desk")
        self.assertEqual(len(items(get(desk, self.version))), 26)
        self.assertEqual(desk.take(), [])

    def test_unknownVersions(self) -> None:
        """Whatever is no version of this roster gets the whole."""
        number = self.server.account("alice").id
        for text in ("", "x", "1", f"{number}-999", f"{number}-x", f"{number + 1}-0", f"{number}-{'9' * 30}"):
            self.assertEqual(len(items(get(self.alice, text))), 1, text)

    def test_forgottenTombstones(self) -> None:
        """A version from before the storage's floor gets the whole roster, even if memory has not heard of it."""
        put(self.alice, "<item jid='carol@localhost'/>")
        memory = self.server.database._memory
        assert memory is not None
        memory.raw.execute("UPDATE accounts SET roster_floor = 5 WHERE local = 'alice'")
        self.assertEqual(len(items(get(self.alice, self.version))), 2)

    def test_recreatedAccount(self) -> None:
        """The cache of a deleted account is not valid for a new one of the same name."""
        account = self.server.account("alice")
        self.alice.close()
        result(self.server.database.accounts.delete(account.id))
        self.server.host.accounts.forget("alice")
        fresh = self.server.client("alice/phone")
        get(fresh)
        put(fresh, "<item jid='eve@localhost'/>")
        self.assertEqual([item.get("jid") for item in items(get(fresh, self.version))], ["eve@localhost"])


class LimitTests(RosterCase):
    """The bound on contacts (D06)."""

    options = {"roster": {"items": 2}}

    def setUp(self) -> None:
        """A full roster."""
        super().setUp()
        put(self.alice, "<item jid='one@localhost'/>")
        put(self.alice, "<item jid='two@localhost'/>")
        self.alice.take()

    def test_set(self) -> None:
        """A contact too many is refused; those that are there can be changed."""
        self.assertEqual(condition(put(self.alice, "<item jid='three@localhost'/>")), "not-allowed")
        self.assertEqual(put(self.alice, "<item jid='two@localhost' name='Two'/>").get("type"), "result")

    def test_subscribe(self) -> None:
        """Subscribing does not get around the bound."""
        self.alice.send("<presence to='three@localhost' type='subscribe'/>")
        self.assertEqual(condition(self.alice.next("presence")), "not-allowed")
        self.assertEqual(len(self.server.account("alice").roster), 2)

    def test_strangers(self) -> None:
        """Requests of strangers do not either."""
        mallory = self.server.client("mallory/desk")
        mallory.send("<presence to='alice@localhost' type='subscribe'/>")
        self.assertEqual(len(self.server.account("alice").roster), 2)
        self.assertEqual(condition(mallory.next("presence")), "not-allowed")


class CommitTests(SynchronousTestCase):
    """Results and pushes speak of what is committed."""

    def setUp(self) -> None:
        """Commits are made by hand."""
        self.server = SlowServer(("roster", "stream_management"))
        self.alice = self.server.client("alice/phone")
        get(self.alice)
        self.server.hold()
        self.request = (
            "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query></iq>"
        )

    def test_afterCommit(self) -> None:
        """Neither result nor push comes before the commit; other traffic is not held up."""
        self.alice.send(self.request)
        self.assertEqual(self.alice.take(), [])
        self.alice.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertEqual(self.alice.next("iq").get("id"), "p")
        self.server.commit()
        self.assertEqual(sorted(stanza.get("type") or "" for stanza in self.alice.take()), ["result", "set"])

    def test_failedWrite(self) -> None:
        """A write that fails is an error of type wait, no push, and memory goes back to what is stored."""
        self.server.slow.full = True
        self.alice.send(self.request)
        self.server.commit()
        (answer,) = self.alice.take()
        self.assertEqual(condition(answer), "internal-server-error")
        self.assertEqual(self.server.account("alice").roster, {})
        self.assertEqual(self.server.account("alice").rosterVersion, 0)

    def test_acknowledgement(self) -> None:
        """The set is not acknowledged before its commit."""
        manage(self.alice)
        self.alice.send(self.request)
        self.alice.send("<r xmlns='urn:xmpp:sm:3'/>")
        self.assertEqual(self.alice.take(), [])
        self.server.commit()
        self.assertIn("a", [stanza.name for stanza in self.alice.take()])

    def test_pushesDuringGet(self) -> None:
        """A change while the roster is being read reaches the client after the result, once."""
        self.alice.send(self.request)
        desk = self.server.client("alice/desk")
        desk.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
        self.alice.send(self.request.replace("bob@", "carol@"))
        self.assertEqual(desk.take(), [])
        self.server.commit()
        answers = desk.take()
        self.assertEqual(answers[0].get("id"), "g")
        known = {item.get("jid") for item in items(answers[0])}
        pushed = [item.get("jid") for stanza in answers[1:] for item in items(stanza)]
        self.assertEqual(known | set(pushed), {"bob@localhost", "carol@localhost"})
        self.assertEqual(len(pushed), len(set(pushed)))

    def test_manyChangesOneReader(self) -> None:
        """Changes in one batch are pushed in the order of their versions."""
        for name in ("bob", "carol", "dave"):
            self.alice.send(self.request.replace("bob@", f"{name}@"))
        self.server.commit()
        self.assertEqual(
            [item.get("jid") for item in pushes(self.alice)],
            ["bob@localhost", "carol@localhost", "dave@localhost"],
        )

    def test_known(self) -> None:
        """Memory has the contact at once, so that what follows sees it."""
        self.alice.send(self.request)
        self.assertEqual(self.server.account("alice").roster, {"bob@localhost": KNOWN})
