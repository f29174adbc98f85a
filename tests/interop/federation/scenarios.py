"""What servers that federate have to do for each other: the same tests for every peer and every way of proving."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.attack.raw import RawClient, stanzaError
from tests.interop.federation.meeting import DEAD, NONE, NOWHERE, World
from tests.interop.processes import waitFor
from xmppservice.wire import ns
from xmppservice.wire.element import Element

#: What XML, encodings and careless copying could break.
TEXT = "<b>5 > 3 & \"2\" 'ü' \N{SLICE OF PIZZA} ]]&gt;"
ESCAPED = TEXT.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
PATIENCE = 30.0
BOTH = pytest.mark.parametrize("direction", ["out", "in"])


def message(client: RawClient, id: str = "") -> Element:
    """The next message, with this id if one is given."""
    return client.find(lambda item: item.name == "message" and id in ("", item.get("id")), PATIENCE)


def presence(client: RawClient, sender: str, type: str | None = None) -> Element:
    """The next presence of somebody, of this type; the sender may be given bare."""

    def wanted(item: Element) -> bool:
        origin = item.get("from") or ""
        return item.name == "presence" and item.get("type") == type and sender in (origin, origin.partition("/")[0])

    return client.find(wanted, PATIENCE)


def body(stanza: Element) -> str:
    """The text of a message."""
    found = stanza.find(ns.CLIENT, "body")
    assert found is not None, stanza
    return found.text


def pushed(client: RawClient, contact: str, subscription: str) -> None:
    """Waits until the roster says so: a push is answered, since some servers want that."""

    def wanted(item: Element) -> bool:
        query = item.find(ns.ROSTER, "query") if item.name == "iq" and item.get("type") == "set" else None
        entries = query.elements() if query is not None else []
        return any(each.get("jid") == contact and each.get("subscription") == subscription for each in entries)

    client.find(wanted, PATIENCE)


class Conversations:
    """Tests that every peer has to pass in every way; the module gives them the fixture ``world``."""

    @BOTH
    def test_messages(self, world: World, direction: str) -> None:
        """A message to a full address, the answer, and another: nothing is changed on the way (RFC 6120 8)."""
        near, one, far, two = world.sides(direction)
        a, b = near.login(one), far.login(two)
        a.send(f"<message to='{b.jid}' type='chat' id='m1'><body>{ESCAPED}</body><thread>t</thread></message>")
        there = message(b)
        assert (there.ns, there.get("from"), there.get("to")) == (ns.CLIENT, a.jid, b.jid)
        assert (there.get("type"), there.get("id"), body(there)) == ("chat", "m1", TEXT)
        b.send(f"<message to='{a.jid}' type='chat' id='m2'><body>{ESCAPED * 100}</body></message>")
        back = message(a)
        assert (back.ns, back.get("from"), back.get("id"), body(back)) == (ns.CLIENT, b.jid, "m2", TEXT * 100)
        a.send(f"<message to='{two}' id='m3'><body>to the bare address</body></message>")
        assert message(b).get("id") == "m3"

    @BOTH
    def test_proofs(self, world: World, direction: str) -> None:
        """Each direction was authenticated in the way that this is about, and in no other."""
        near, one, far, two = world.sides(direction)
        exchange(near.login(one), far.login(two), "proof")
        hows = [row["authenticated"] for row in world.streams()]
        good = ("certificate", "pkix") if world.way == "certificates" else ("dialback", "DNS")
        bad = ("dialback", "DNS") if world.way == "certificates" else ("certificate", "pkix")
        assert hows
        for how in hows:
            assert any(word in how for word in good) and not any(word in how for word in bad), hows

    @BOTH
    def test_order(self, world: World, direction: str) -> None:
        """A hundred messages in one go, the first of which makes the servers connect, arrive in order."""
        near, one, far, two = world.sides(direction)
        a, b = near.login(one), far.login(two)
        a.send("".join(f"<message to='{b.jid}' type='chat' id='n{i}'><body>{i}</body></message>" for i in range(100)))
        assert [message(b).get("id") for _ in range(100)] == [f"n{i}" for i in range(100)]

    @BOTH
    def test_subscription(self, world: World, direction: str) -> None:
        """Subscription both ways, presence, a probe, going offline, and unsubscription (RFC 6121 3 and 4)."""
        near, one, far, two = world.sides(direction)
        a, b = near.login(one), far.login(two)
        for client in (a, b):
            client.ask("get", f"<query xmlns='{ns.ROSTER}'/>")
        for asker, asked, theirs, ours in ((a, b, one, two), (b, a, two, one)):
            asker.send(f"<presence to='{ours}' type='subscribe'/>")
            presence(asked, theirs, "subscribe")
            asked.send(f"<presence to='{theirs}' type='subscribed'/>")
            presence(asker, ours, "subscribed")
            # Who is asked has a session, so its presence follows (RFC 6121 3.1.5).
            presence(asker, asked.jid)
        pushed(a, two, "both")
        pushed(b, one, "both")
        a.send(f"<presence><show>away</show><status>{ESCAPED}</status></presence>")
        status = presence(b, a.jid).find(ns.CLIENT, "status")
        assert status is not None and status.text == TEXT
        self._comesBack(a, lambda: near.login(one), b, two)
        again = near.login(one)
        presence(again, two)
        again.ask("get", f"<query xmlns='{ns.ROSTER}'/>")
        again.send(f"<presence to='{two}' type='unsubscribe'/>")
        presence(b, one, "unsubscribe")
        pushed(again, two, "from")

    def _comesBack(self, client: RawClient, login: Callable[[], RawClient], contact: RawClient, jid: str) -> None:
        """Somebody goes; the contact sees it. A new session is told of the contact, by probe (RFC 6121 4.3)."""
        contact.items.clear()
        client.send("</stream:stream>")
        presence(contact, client.jid, "unavailable")
        back = login()
        presence(back, contact.jid)
        presence(contact, back.jid)
        back.send("</stream:stream>")
        presence(contact, back.jid, "unavailable")

    @BOTH
    def test_requests(self, world: World, direction: str) -> None:
        """IQs to the other server, and to a session there and back (RFC 6120 8.2.3)."""
        near, one, far, two = world.sides(direction)
        a, b = near.login(one), far.login(two)
        domain = two.partition("@")[2]
        assert a.ask("get", f"<ping xmlns='{ns.PING}'/>", domain, PATIENCE).get("type") == "result"
        # We pass requests to a session only from those who may know of it (RFC 6121 8.5.3.1): it shows itself.
        b.send(f"<presence to='{a.jid}'/>")
        presence(a, b.jid)
        a.send(f"<iq to='{b.jid}' type='get' id='v1'><query xmlns='jabber:iq:version'/></iq>")
        asked = b.find(lambda item: item.name == "iq" and item.get("id") == "v1", PATIENCE)
        assert asked.get("from") == a.jid
        b.send(f"<iq to='{a.jid}' type='result' id='v1'><query xmlns='jabber:iq:version'><name>x</name></query></iq>")
        answer = a.find(lambda item: item.name == "iq" and item.get("id") == "v1", PATIENCE)
        assert (answer.get("type"), answer.get("from")) == ("result", b.jid)

    @BOTH
    def test_unknownUser(self, world: World, direction: str) -> None:
        """What goes to nobody comes back as an error, with the id (RFC 6121 8.5.1)."""
        near, one, _, two = world.sides(direction)
        a = near.login(one)
        nobody = f"nobody@{two.partition('@')[2]}"
        a.send(f"<message to='{nobody}' id='e1' type='chat'><body>?</body></message>")
        bounce = message(a, "e1")
        assert (bounce.get("from"), stanzaError(bounce)) == (nobody, ("cancel", "service-unavailable"))
        reply = a.ask("get", "<query xmlns='jabber:iq:version'/>", f"{nobody}/r", PATIENCE)
        assert stanzaError(reply) == ("cancel", "service-unavailable")

    def test_unknownDomains(self, world: World) -> None:
        """No such name, no service, nobody listens, and a server that does not know the domain: the right bounces."""
        ours, _ = world.pair()
        a = world.own.login(ours)
        missing = ("cancel", "remote-server-not-found")
        expected = {NOWHERE: {missing}, NONE: {missing}, DEAD: {("wait", "remote-server-timeout")}}
        # host-unknown of the other server: RFC 6120 gives either condition for it.
        expected[world.peer.foreign] = {missing, ("wait", "remote-server-timeout")}
        for number, domain in enumerate(expected):
            a.send(f"<message to='somebody@{domain}' id='d{number}' type='chat'><body>?</body></message>")
        for number, (domain, errors) in enumerate(expected.items()):
            bounce = message(a, f"d{number}")
            assert stanzaError(bounce) in errors, (domain, bounce)
            assert bounce.get("from") == f"somebody@{domain}"

    def test_unknownHere(self, world: World) -> None:
        """A domain that DNS sends to us, and that we do not have: the peer learns it, and tells its user."""
        _, theirs = world.pair()
        b = world.peer.login(theirs)
        b.send(f"<message to='somebody@{world.own.foreign}' id='u1' type='chat'><body>?</body></message>")
        assert stanzaError(message(b, "u1"))[1] in ("remote-server-not-found", "remote-server-timeout")

    def test_peerRestarts(self, world: World) -> None:
        """While the peer is down what is sent comes back or arrives later, and afterwards all goes on."""
        ours, theirs = world.pair()
        a, b = world.own.login(ours), world.peer.login(theirs)
        a.enable()
        exchange(a, b, "before")
        world.peer.stop()
        # What we wrote before we saw the end would be lost where nothing is acknowledged, and nobody could know.
        waitFor("our server to see it", lambda: not world.streams())
        sent = {f"down{number}" for number in range(20)}
        for id in sent:
            a.send(f"<message to='{theirs}' id='{id}' type='chat'><body>?</body></message>")
        world.peer.start()
        b = world.peer.login(theirs)
        exchange(a, b, "after", again=True)
        # ejabberd stores what comes in the middle of a login, and hands it out at the next one.
        accounted(sent, a, b, world.peer.login(theirs))

    def test_weRestart(self, world: World) -> None:
        """The same with our server down; its user is offline, and finds what has arrived."""
        ours, theirs = world.pair()
        a, b = world.own.login(ours), world.peer.login(theirs)
        b.enable()
        exchange(b, a, "before")
        a.send("</stream:stream>")
        world.own.stop()
        _untilBounce(b, ours)
        sent = {f"down{number}" for number in range(20)}
        for id in sent:
            b.send(f"<message to='{ours}' id='{id}' type='chat'><body>?</body></message>")
        world.own.start()
        a = world.own.login(ours)
        exchange(b, a, "after", again=True)
        accounted(sent, b, a)
        exchange(a, b, "we")


def exchange(one: RawClient, two: RawClient, name: str, again: bool = False) -> None:
    """A message there and another back. With `again` it is sent until it arrives: the servers have to find together."""
    sent: set[str] = set()
    deadline = time.monotonic() + PATIENCE
    arrived = None
    while arrived is None:
        assert time.monotonic() < deadline, f"{name} does not arrive"
        if again or not sent:
            sent.add(f"{name}{len(sent)}")
            one.send(f"<message to='{two.jid}' id='{name}{len(sent) - 1}' type='chat'><body>there</body></message>")
        arrived = until(two, lambda item: item.get("id") in sent, 1.0)
    two.send(f"<message to='{one.jid}' id='{name}back' type='chat'><body>back</body></message>")
    message(one, f"{name}back")


def _untilBounce(client: RawClient, to: str) -> None:
    """Waits until a server knows that another one has gone."""
    deadline, number = time.monotonic() + PATIENCE, 0
    while (
        until(client, lambda item: item.get("type") == "error" and (item.get("id") or "").startswith("gone"), 0.2)
        is None
    ):
        assert time.monotonic() < deadline, "nothing bounces"
        client.send(f"<message to='{to}' id='gone{number}' type='chat'><body>?</body></message>")
        number += 1


def until(client: RawClient, wanted: Callable[[Element], bool], seconds: float) -> Element | None:
    """What is wanted, or nothing if it does not come in this time; all that came before it stays."""
    passed, end = [], time.monotonic() + seconds
    found = None
    while found is None and (left := end - time.monotonic()) > 0 and (client.items or not client.silent(left)):
        item = client.next()
        if item is None:
            break
        if isinstance(item, Element) and wanted(item):
            found = item
        else:
            passed.append(item)
    client.items.extendleft(reversed(passed))
    return found


def accounted(sent: set[str], *clients: RawClient) -> None:
    """Each message has arrived or come back, at one of these."""
    missing = set(sent)
    deadline = time.monotonic() + PATIENCE
    while missing and time.monotonic() < deadline:
        for client in clients:
            while (item := until(client, lambda item: item.get("id") in missing, 0.1)) is not None:
                missing.discard(item.get("id") or "")
    assert not missing, f"neither arrived nor bounced: {sorted(missing)}"
