"""Streams that we have opened to servers that turn out to be hostile (X01-X11, D04, D05, 3.1)."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest

from tests.attack.inputs.xml import FORBIDDEN, HUGE, MALFORMED, MEGABYTES
from tests.attack.peer import EXTERNAL, MANAGEMENT, RawPeer, RawServer, dialback
from tests.attack.raw import DOMAIN
from tests.attack.s2s.writer import FULL, Writer
from tests.attack.servers.federating import FederatingServer
from xmppservice.wire import ns

Neighbours = Callable[[], RawServer]


@pytest.fixture
def link(alice: Writer, neighbours: Neighbours) -> tuple[RawServer, RawPeer]:
    """A server that has got a message."""
    neighbour = neighbours()
    id = alice.write(neighbour.domain)
    peer = neighbour.authenticated(behind=MANAGEMENT)
    assert peer.element().name == "enable"
    assert peer.element().get("id") == id
    peer.send(f"<enabled xmlns='{ns.SM}'/>")
    return neighbour, peer


@pytest.mark.attack("X01", "X02", "X10")
@pytest.mark.parametrize("bad", [*FORBIDDEN.values(), *list(MALFORMED.values())[:6]],
                         ids=[*FORBIDDEN.keys(), *list(MALFORMED)[:6]])  # fmt: skip
def test_badXML(link: tuple[RawServer, RawPeer], bad: str | bytes) -> None:
    """X01, X10: nor on a stream that we opened."""
    link[1].send(bad)
    link[1].refused("restricted-xml", "not-well-formed")


@pytest.mark.attack("X04")
@pytest.mark.parametrize("name", ["text", "an attribute", "white space in a tag", "depth"])
def test_hugeAnswer(server: FederatingServer, alice: Writer, neighbours: Neighbours, name: str) -> None:
    """X04: nor does a server that we call get us to read ten megabytes; before it is known, eight kilobytes."""
    neighbour = neighbours()
    alice.write(neighbour.domain)
    peer = neighbour.secured(EXTERNAL)
    memory = server.memory
    start, filling = HUGE[name]
    peer.flood(start + (filling * (10_000_000 // len(filling)) if filling else MEGABYTES))
    peer.find(lambda item: item.name == "auth")
    peer.refused("policy-violation", app="stanza-too-big")
    assert server.memory - memory < 2 << 20
    neighbour.close()


def test_countsThatLie(link: tuple[RawServer, RawPeer]) -> None:
    """3.1 undefined-condition: more is acknowledged than was sent."""
    link[1].send(f"<a xmlns='{ns.SM}' h='99'/>")
    link[1].refused("undefined-condition", app="handled-count-too-high")


@pytest.mark.parametrize("bad, wanted", [
    (f"<resumed xmlns='{ns.SM}' previd='x' h='0'/>", "unsupported-stanza-type"),
    (f"<a xmlns='{ns.SM}'/>", "invalid-xml"),
    (f"<bogus xmlns='{ns.SM}'/>", "unsupported-stanza-type"), ("<stream:features/>", "unsupported-stanza-type"),
    (dialback("result", "a.test", DOMAIN, "key") + "<foo/>", "unsupported-stanza-type"), ("hello", "bad-format"),
])  # fmt: skip
def test_nonsenseOnOurStream(link: tuple[RawServer, RawPeer], bad: str, wanted: str) -> None:
    """3.1: what has no place on a stream that we opened."""
    link[1].send(bad)
    link[1].refused(wanted)


@pytest.mark.attack("D05")
def test_neverAcknowledging(server: FederatingServer, alice: Writer, link: tuple[RawServer, RawPeer]) -> None:
    """D05: what a server leaves unacknowledged is bounded; who writes more is told to wait, nobody else is."""
    neighbour, peer = link
    memory, text = server.memory, "x" * 200_000
    ids = []
    for _ in range(60):
        ids.append(alice.write(neighbour.domain, text))
        _drain(peer)
    assert alice.bounce(ids[-1]) == FULL
    _drain(peer)
    late = [id for id in ids if peer.raw.count(f"id='{id}'".encode()) == 0]
    assert late == ids[-len(late):]
    assert {alice.bounce(id) for id in late[:-1]} == {FULL}
    assert server.memory - memory < 64 << 20


def _drain(peer: RawPeer) -> None:
    peer.socket.settimeout(0.02)
    try:
        while not peer.closed:
            peer._read()
    except TimeoutError:
        pass


@pytest.mark.attack("D04")
def test_serverThatDoesNotRead(server: FederatingServer, alice: Writer, neighbours: Neighbours) -> None:
    """D04: what waits to be read by another server is bounded, too; all that it did not read comes back."""
    neighbour = neighbours()
    alice.write(neighbour.domain, owed=False)
    peer = neighbour.authenticated()
    memory, text = server.memory, "x" * 200_000
    ids = [alice.write(neighbour.domain, text, owed=False) for _ in range(80)]
    alice.client.ping()
    assert server.memory - memory < 64 << 20
    # What its kernel has taken counts as delivered where there is no XEP-0198; the rest may not be lost.
    alice.owed.update(ids[-20:])
    peer.close()


@pytest.mark.attack("X11")
def test_smuggling(alice: Writer, link: tuple[RawServer, RawPeer]) -> None:
    """X11: whatever a user writes, the other server reads one stanza, with the true sender, in its own namespace."""
    neighbour, peer = link
    evil = "u&apos;/&gt;&lt;/message&gt;&lt;presence/&gt;&lt;message&gt;&#10;&#9;"
    alice.client.send(f"<message to='x@{neighbour.domain}' from='{alice.client.jid}' id='{evil}' xml:lang='de'>"
               f"<x xmlns='{evil}' a='{evil}'>{evil}</x><y xmlns='jabber:server'/></message>")  # fmt: skip
    last = alice.write(neighbour.domain)
    got = [peer.find(lambda item: item.ns != ns.SM) for _ in range(2)]
    text = html.unescape(evil)
    assert [item.get("id") for item in got] == [text, last] and got[0].get("from") == alice.client.jid
    child = next(item for item in got[0].elements() if item.name == "x")
    assert (child.ns, child.get("a"), child.text) == (text, text, text)
