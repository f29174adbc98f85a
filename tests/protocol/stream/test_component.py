"""The stream of a component (XEP-0114): header, handshake, and every wrong way through it."""

from __future__ import annotations

import hashlib

import pytest

from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State
from xmppservice.protocol.stream.component import ComponentMachine, handshake
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import ParseError, StreamEnd, StreamHeader

DOMAIN = "plays.shakespeare.lit"
SECRET = b"a secret of many characters"


def machine() -> ComponentMachine:
    """A machine that expects one component."""
    return ComponentMachine({DOMAIN: SECRET}.get, "shakespeare.lit")


def header(to: str | None = DOMAIN, content: str = ns.COMPONENT, stream: str = ns.STREAM) -> StreamHeader:
    """The component's header."""
    return StreamHeader(stream, "stream", {} if to is None else {"to": to}, content, "", {})


def shake(text: str) -> Element:
    """A handshake, in the namespace that the parser gives to the stream's own."""
    return Element(ns.CLIENT, "handshake", None, text)


def sent(asks: list[events.Ask]) -> str:
    """What a list of asks writes."""
    return b"".join(ask.data for ask in asks if isinstance(ask, events.Send)).decode()


def opened() -> ComponentMachine:
    """A machine that waits for the handshake."""
    found = machine()
    found.receive(header())
    return found


def test_header() -> None:
    """Example 2: our header comes from the component's own domain, with an id, and with no version."""
    found = machine()
    text = sent(found.receive(header()))
    assert f"from='{DOMAIN}'" in text and f"id='{found.id}'" in text and "xmlns='jabber:component:accept'" in text
    assert "version='1" not in text.partition("?>")[2] and "features" not in text
    assert len(found.id) >= 22


def test_idsDiffer() -> None:
    """The id is what makes a recorded handshake useless."""
    assert len({opened().id for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        (header("nobody.shakespeare.lit"), "host-unknown"),
        (header("shakespeare.lit"), "host-unknown"),
        (header(None), "improper-addressing"),
        (header("@@"), "improper-addressing"),
        (header(content=ns.CLIENT), "invalid-namespace"),
        (header(content=""), "invalid-namespace"),
        (header(content="jabber:component:connect"), "invalid-namespace"),
        (header(stream="urn:x"), "invalid-namespace"),
        (ParseError("restricted-xml", "a comment", None), "restricted-xml"),
        (Element(ns.CLIENT, "handshake"), "not-authorized"),
    ],
)
def test_refusedAtOnce(given: object, condition: str) -> None:
    """Section 3: our header, the error, our footer."""
    found = machine()
    asks = found.receive(given)
    text = sent(asks)
    assert "<stream:stream" in text and f"<{condition} " in text and text.endswith("</stream:stream>")
    assert isinstance(asks[-1], events.Close) and found.state is State.CLOSED
    assert found.receive(header()) == []


def test_handshake() -> None:
    """Examples 3 and 4: the hash of id and secret; the answer waits until the component has its seat."""
    found = opened()
    digest = hashlib.sha1(found.id.encode() + SECRET).hexdigest()
    (ask,) = found.receive(shake(f" {digest.upper()}\n"))
    assert isinstance(ask, events.Join) and ask.domain == DOMAIN
    assert sent(found.joined()) == "<handshake/>"
    assert found.state is State.BOUND and str(found.jid) == DOMAIN


@pytest.mark.parametrize("wrong", ["", "x", "ü" * 40, handshake("another id", SECRET), SECRET.decode()])
def test_wrongHandshake(wrong: str) -> None:
    """One try: the log is told, the component hears not-authorized, the stream is over."""
    found = opened()
    asks = found.receive(shake(wrong))
    assert isinstance(asks[0], events.Refuse) and asks[0].condition == "not-authorized"
    assert "<not-authorized " in sent(asks) and isinstance(asks[-1], events.Close)
    assert found.state is State.CLOSED


def test_childrenInTheHandshake() -> None:
    """Only text is a hash, whatever stands around it."""
    found = opened()
    element = shake(handshake(found.id, SECRET))
    element.child("urn:x", "x")
    assert "<not-authorized " in sent(found.receive(element))


@pytest.mark.parametrize("name", ["message", "presence", "iq"])
def test_stanzaBeforeTheHandshake(name: str) -> None:
    """RFC 6120 4.9.3.12: nothing is taken from somebody who has proved nothing."""
    assert "<not-authorized " in sent(opened().receive(Element(ns.CLIENT, name, {"from": DOMAIN, "to": "a@b"})))


def test_secondHeader() -> None:
    """A stream has one header."""
    assert "<invalid-xml " in sent(opened().receive(header()))


def test_takenSeat() -> None:
    """Another component is connected as this one: conflict."""
    found = opened()
    found.receive(shake(handshake(found.id, SECRET)))
    asks = found.joinFailed(StreamError("conflict"))
    assert "<conflict " in sent(asks) and isinstance(asks[-1], events.Close)
    assert found.joined() == []


def test_end() -> None:
    """The component closes its stream; so do we."""
    found = opened()
    asks = found.receive(StreamEnd())
    assert sent(asks) == "</stream:stream>" and isinstance(asks[-1], events.Close) and asks[-1].expected
