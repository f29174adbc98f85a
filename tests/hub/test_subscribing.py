"""Subscriptions between two local accounts, end to end: every state by every stanza (RFC 6121 section 3, Appendix A).

The expectation of each cell comes from the pure tables of `protocol.subscription`, which have
their own test against the text of the RFC; here it is the server that must do what they say: route,
deliver, push, store, answer and show presence.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import ask, presences
from xmppservice.protocol.subscription import (
    APPROVED,
    FROM,
    KNOWN,
    PENDING_IN,
    PENDING_OUT,
    TO,
    TYPES,
    inbound,
    normalise,
    outbound,
    subscriptionName,
)
from xmppservice.testing import MemoryClient, MemoryServer
from xmppservice.testing.server import result
from xmppservice.wire import ns

#: The nine states of Appendix A, as Alice sees Bob.
STATES = {
    "none": 0, "out": PENDING_OUT, "in": PENDING_IN, "outIn": PENDING_OUT | PENDING_IN, "to": TO,
    "toIn": TO | PENDING_IN, "from": FROM, "fromOut": FROM | PENDING_OUT, "both": TO | FROM,
}  # fmt: skip

#: The same relation, seen from the other side.
MIRROR = {TO: FROM, FROM: TO, PENDING_OUT: PENDING_IN, PENDING_IN: PENDING_OUT}


def mirrored(state: int) -> int:
    """The contact's state when both sides agree."""
    return normalise(sum(other for flag, other in MIRROR.items() if state & flag))


class Pair:
    """Alice and Bob in a given relation, both online and interested in their rosters."""

    def __init__(self, state: int, other: int | None = None) -> None:
        self.server = MemoryServer(("roster",))
        self.states = {"alice": normalise(state), "bob": mirrored(state) if other is None else normalise(other)}
        self.clients: dict[str, MemoryClient] = {}
        for who, contact in (("alice", "bob"), ("bob", "alice")):
            self.server.account(contact)
            if self.states[who]:
                request = f"<presence type='subscribe' from='{contact}@localhost' to='{who}@localhost'/>"
                pending = request.encode() if self.states[who] & PENDING_IN else None
                self.server.account(who).setState(f"{contact}@localhost", self.states[who], pending)
        for who in ("alice", "bob"):
            client = self.clients[who] = self.server.client(f"{who}/one")
            ask(client, "<query xmlns='jabber:iq:roster'/>")
            client.available()
        for client in self.clients.values():
            client.take()

    def state(self, who: str) -> int:
        """How `who` sees the other, in memory; checked against the storage."""
        account = self.server.account(who)
        state = next(iter(account.roster.values()), 0)
        rows = result(self.server.database.rosters.items(account.id))
        assert [row.state for row in rows if row.state] == ([state] if state else []), rows
        requests = result(self.server.database.rosters.requests(account.id))
        assert bool(requests) == bool(state & PENDING_IN), (requests, state)
        return state


class CellTests(SynchronousTestCase):
    """One test per state and stanza, made below."""

    def check(self, state: int, type: str) -> None:
        """Alice sends the stanza to Bob; both sides do what the tables say."""
        pair = Pair(state)
        alice, bob = pair.clients["alice"], pair.clients["bob"]
        out = outbound(pair.states["alice"], type)
        came = inbound(pair.states["bob"], type) if out.route else None
        alice.send(f"<presence to='bob@localhost' type='{type}'/>")
        answer = inbound(out.state, came.reply) if came is not None and came.reply else None
        self.assertEqual(pair.state("alice"), _kept(answer.state if answer else out.state))
        self.assertEqual(pair.state("bob"), _kept(came.state if came else pair.states["bob"]))
        self.checkReceived(bob, "alice@localhost", type, came is not None and came.deliver, pair, "alice")
        replied = answer is not None and answer.deliver
        self.checkReceived(alice, "bob@localhost", came.reply if came and came.reply else "", replied, pair, "bob")

    def checkReceived(
        self, client: MemoryClient, sender: str, type: str, delivered: bool, pair: Pair, other: str
    ) -> None:
        """The subscription stanza, the push and the other's presence, each if and only if due."""
        me = client.jid.local
        before, after = pair.states[me], pair.state(me)
        stanzas = client.take()
        kinds = [stanza.get("type") for stanza in stanzas if stanza.name == "presence" and stanza.get("from") == sender]
        self.assertEqual(kinds, [type] if delivered else [])
        pushes = [stanza for stanza in stanzas if stanza.name == "iq"]
        if pushes:
            item = pushes[-1].elements()[0].elements()[0]
            self.assertEqual(item.get("subscription"), subscriptionName(after))
            self.assertEqual(item.get("ask"), "subscribe" if after & PENDING_OUT else None)
            self.assertEqual(item.get("approved"), "true" if after & APPROVED else None)
        visible = TO | FROM | PENDING_OUT | APPROVED | KNOWN
        if pushes or (before ^ after) & visible:
            # A push may repeat what is known: when a request was refused the item is as before.
            self.assertTrue(pushes and before != after)
        # Whoever won or lost the other's presence sees it come or go.
        shown = [
            (stanza.get("type") or "") for stanza in stanzas if stanza.get("from") == f"{other}@localhost/one"
        ]
        won = (pair.state(other) & FROM) - (pair.states[other] & FROM)
        self.assertEqual(shown, [] if not won else [""] if won > 0 else ["unavailable"])


def _kept(state: int) -> int:
    """A state without an item and without a request leaves nothing."""
    return state if state & (KNOWN | PENDING_IN) else 0


def _cell(state: int, type: str) -> Callable[[CellTests], None]:
    def test(self: CellTests) -> None:
        self.check(state, type)

    test.__doc__ = f"{type} in state {state:#x}."
    return test


for _name, _state in STATES.items():
    for _type in TYPES:
        setattr(CellTests, f"test_{_name}_{_type}", _cell(_state, _type))


class FlowTests(SynchronousTestCase):
    """Whole conversations."""

    def test_mutual(self) -> None:
        """Ask, approve, ask back, approve: friends, and both see each other (3.1)."""
        pair = Pair(0)
        alice, bob = pair.clients["alice"], pair.clients["bob"]
        for one, other in ((alice, bob), (bob, alice)):
            one.send(f"<presence to='{other.jid.bare}' type='subscribe'/>")
            other.send(f"<presence to='{one.jid.bare}' type='subscribed'/>")
        self.assertEqual((pair.state("alice"), pair.state("bob")), (TO | FROM | KNOWN,) * 2)
        self.assertIn(("bob@localhost/one", ""), presences(alice))
        self.assertIn(("alice@localhost/one", ""), presences(bob))

    def test_refused(self) -> None:
        """Ask and be refused: nothing is left but the item of who asked."""
        pair = Pair(0)
        alice, bob = pair.clients["alice"], pair.clients["bob"]
        alice.send("<presence to='bob@localhost' type='subscribe'/>")
        bob.send("<presence to='alice@localhost' type='unsubscribed'/>")
        self.assertEqual((pair.state("alice"), pair.state("bob")), (KNOWN, 0))
        self.assertIn(("bob@localhost", "unsubscribed"), presences(alice))

    def test_preApproval(self) -> None:
        """An approval in advance answers the request by itself, and nobody is asked (3.4)."""
        pair = Pair(0)
        alice, bob = pair.clients["alice"], pair.clients["bob"]
        bob.send("<presence to='alice@localhost' type='subscribed'/>")
        self.assertEqual((pair.state("bob"), pair.state("alice")), (APPROVED | KNOWN, 0))
        item = bob.next("iq").elements()[0].elements()[0]
        self.assertEqual((item.get("approved"), item.get("subscription")), ("true", "none"))
        alice.send("<presence to='bob@localhost' type='subscribe'/>")
        self.assertEqual((pair.state("alice"), pair.state("bob")), (TO | KNOWN, FROM | KNOWN))
        self.assertEqual([type for _, type in presences(bob)], [])
        self.assertEqual(presences(alice), [("bob@localhost", "subscribed"), ("bob@localhost/one", "")])

    def test_approvalWithdrawn(self) -> None:
        """An approval in advance can be taken back (3.4.2)."""
        pair = Pair(APPROVED)
        pair.clients["alice"].send("<presence to='bob@localhost' type='unsubscribed'/>")
        self.assertEqual(pair.state("alice"), KNOWN)
        self.assertEqual(pair.clients["bob"].take(), [])

    def test_alreadySubscribed(self) -> None:
        """Asking for what one has is answered by the contact's server alone (3.1.3)."""
        pair = Pair(FROM, TO)
        alice, bob = pair.clients["alice"], pair.clients["bob"]
        bob.send("<presence to='alice@localhost' type='subscribe'/>")
        self.assertEqual(alice.take(), [])
        self.assertEqual((pair.state("alice"), pair.state("bob")), (FROM | KNOWN, TO | KNOWN))

    def test_outOfStep(self) -> None:
        """Rosters that disagree come to agree when one side asks anew."""
        pair = Pair(0, FROM)
        alice = pair.clients["alice"]
        alice.send("<presence to='bob@localhost' type='subscribe'/>")
        self.assertEqual(pair.state("alice"), TO | KNOWN)
        self.assertEqual(pair.clients["bob"].take(), [])

    def test_requestWhileAway(self) -> None:
        """A request is kept while its recipient is away, once however often it comes (3.1.3)."""
        pair = Pair(0)
        alice, bob = pair.clients["alice"], pair.clients["bob"]
        bob.close()
        for text in ("first", "second"):
            alice.send(f"<presence to='bob@localhost' type='subscribe'><status>{text}</status></presence>")
        again = pair.server.client("bob/two")
        again.available()
        (request,) = [stanza for stanza in again.take() if stanza.get("type") == "subscribe"]
        self.assertEqual((request.get("from"), request.get("to")), ("alice@localhost", "bob@localhost"))
        self.assertEqual(request.elements()[0].text, "first")

    def test_answeredRequestIsForgotten(self) -> None:
        """After the answer it is not shown again."""
        pair = Pair(PENDING_OUT)
        pair.clients["bob"].send("<presence to='alice@localhost' type='subscribed'/>")
        again = pair.server.client("bob/two")
        again.available()
        self.assertNotIn("subscribe", [type for _, type in presences(again)])

    def test_bareAddresses(self) -> None:
        """From and to are reduced to bare addresses on the way (3.1.2)."""
        pair = Pair(0)
        pair.clients["alice"].send("<presence to='bob@localhost/one' type='subscribe' id='s1'/>")
        stanza = pair.clients["bob"].next("presence")
        self.assertEqual(
            (stanza.get("from"), stanza.get("to"), stanza.get("id")), ("alice@localhost", "bob@localhost", "s1")
        )

    def test_toOneself(self) -> None:
        """Nobody subscribes to themselves; nothing happens."""
        pair = Pair(0)
        for type in TYPES:
            pair.clients["alice"].send(f"<presence to='alice@localhost' type='{type}'/>")
        self.assertEqual((pair.clients["alice"].take(), pair.state("alice")), ([], 0))

    def test_toUnknownAccount(self) -> None:
        """A request to nobody waits, as if the account were there."""
        pair = Pair(0)
        alice = pair.clients["alice"]
        alice.send("<presence to='nobody@localhost' type='subscribe'/>")
        self.assertEqual([stanza.name for stanza in alice.take()], ["iq"])

    def test_toUnknownDomain(self) -> None:
        """Without federation a request elsewhere comes back as an error."""
        pair = Pair(0)
        alice = pair.clients["alice"]
        alice.send("<presence to='bob@elsewhere.example' type='subscribe'/>")
        errors = [stanza for stanza in alice.take() if stanza.get("type") == "error"]
        self.assertEqual(len(errors), 1)
        self.assertIsNotNone(errors[0].find(ns.CLIENT, "error"))

    def test_connectedButUnavailable(self) -> None:
        """A request is for available sessions; it waits for their presence (3.1.3)."""
        pair = Pair(0)
        idle = pair.server.client("bob/idle")
        pair.clients["alice"].send("<presence to='bob@localhost' type='subscribe'/>")
        self.assertEqual(idle.take(), [])
        idle.available()
        self.assertIn(("alice@localhost", "subscribe"), presences(idle))
