"""Stanza rules of RFC 6120 section 8 and the types of RFC 6121."""

import pytest

from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.payloads.delay import delayOf
from xmppservice.protocol.stanza import (
    STANZAS,
    checkIQ,
    delayed,
    errorFor,
    messageType,
    presenceType,
    priorityOf,
    resultFor,
)
from xmppservice.wire import ns
from xmppservice.wire.element import Element

ALICE, BOB = "alice@example.com/a", "bob@example.net/b"
REFUSED = StanzaError("service-unavailable")


def iq(kind: str | None = "get", id: str | None = "1", *children: Element | str) -> Element:
    """An IQ from Alice to Bob."""
    attrs = {"from": ALICE, "to": BOB}
    if kind is not None:
        attrs["type"] = kind
    if id is not None:
        attrs["id"] = id
    return Element(ns.CLIENT, "iq", attrs, *children)


def ping() -> Element:
    return Element(ns.PING, "ping")


def test_result() -> None:
    """A result swaps the addresses, keeps the id, and carries the payload (8.2.3)."""
    payload = ping()
    reply = resultFor(iq("get", "x"), payload)
    assert reply == Element(ns.CLIENT, "iq", {"type": "result", "id": "x", "from": BOB, "to": ALICE}, payload)
    assert resultFor(iq("set", "x")).children == []


def test_resultWithoutAddresses() -> None:
    """A request to one's own account has no `to`, and the result then no `from`."""
    request = Element(ns.CLIENT, "iq", {"type": "get", "id": "x", "from": ALICE}, ping())
    assert resultFor(request).attrs == {"type": "result", "id": "x", "to": ALICE}
    assert resultFor(Element(ns.CLIENT, "iq", {"type": "get"})).attrs == {"type": "result"}


def test_answersLeaveTheQuestionAlone() -> None:
    """Neither answer changes or shares the attributes of the stanza it answers."""
    request = iq("get", "x", ping())
    before = request.copy()
    resultFor(request).attrs["to"] = "changed"
    error = errorFor(request, REFUSED, quote=True)
    assert error is not None
    error.children.clear()
    assert request == before


@pytest.mark.parametrize("name", sorted(STANZAS))
def test_error(name: str) -> None:
    """An error is of the same kind, with the id mirrored and the addresses swapped (8.3)."""
    stanza = Element(ns.CLIENT, name, {"from": ALICE, "to": BOB, "id": "x", "type": "set"}, ping())
    error = errorFor(stanza, StanzaError("forbidden", text="No."))
    assert error is not None
    assert (error.ns, error.name) == (ns.CLIENT, name)
    assert error.attrs == {"type": "error", "id": "x", "from": BOB, "to": ALICE}
    assert error.children == [StanzaError("forbidden", text="No.").toElement()]


@pytest.mark.parametrize("name", sorted(STANZAS))
def test_errorForError(name: str) -> None:
    """An error is never answered, so two servers cannot loop (8.3.1 rule 8)."""
    assert errorFor(Element(ns.CLIENT, name, {"type": "error"}), REFUSED) is None


def test_errorForResult() -> None:
    """An IQ result is never answered (8.2.3 rule 4); the word means nothing elsewhere."""
    assert errorFor(iq("result"), REFUSED) is None
    assert errorFor(Element(ns.CLIENT, "message", {"type": "result"}), REFUSED) is not None


def test_errorForUnknownType() -> None:
    """An IQ of a made-up type, or of none, gets its error (8.2.3 rule 2)."""
    assert errorFor(iq("push"), REFUSED) is not None
    assert errorFor(iq(None), REFUSED) is not None


def test_errorQuotes() -> None:
    """The original content goes back only when asked for and small, before the error element."""
    small, large = iq("get", "1", ping()), iq("get", "1", Element(ns.PING, "ping", None, "x" * 2048))
    for stanza, quote, count in ((small, False, 1), (small, True, 2), (large, True, 1)):
        error = errorFor(stanza, REFUSED, quote)
        assert error is not None
        assert len(error.children) == count
        assert error.elements()[-1].name == "error"


def test_errorForMalformedAddress() -> None:
    """The error stanza itself never carries a malformed address (8.3.1 rule 2)."""
    stanza = Element(ns.CLIENT, "message", {"from": ALICE, "to": "a b@x", "id": "1"})
    error = errorFor(stanza, StanzaError("jid-malformed"))
    assert error is not None
    assert error.attrs == {"type": "error", "id": "1", "to": ALICE}


@pytest.mark.parametrize(
    "stanza",
    [
        iq("get", "1", ping()),
        iq("set", "", ping()),
        iq("get", "1", " ", ping(), "\n"),
        iq("result", "1"),
        iq("result", "1", ping()),
        iq("error", "1", REFUSED.toElement()),
        iq("error", "1", ping(), REFUSED.toElement()),
    ],
)
def test_goodIQ(stanza: Element) -> None:
    """What 8.2.3 allows passes."""
    checkIQ(stanza)


@pytest.mark.parametrize(
    "stanza",
    [
        iq(None, "1", ping()),
        iq("", "1", ping()),
        iq("GET", "1", ping()),
        iq("push", "1", ping()),
        iq("get", None, ping()),
        iq("result", None),
        iq("get", "1"),
        iq("set", "1", "text"),
        iq("get", "1", ping(), ping()),
        iq("set", "1", ping(), ping()),
        iq("result", "1", ping(), ping()),
        iq("error", "1"),
        iq("error", "1", Element("urn:example:other", "error")),
    ],
)
def test_badIQ(stanza: Element) -> None:
    """What 8.2.3 forbids is bad-request."""
    with pytest.raises(StanzaError) as caught:
        checkIQ(stanza)
    assert (caught.value.condition, caught.value.type) == ("bad-request", "modify")


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [(None, "normal"), ("", "normal"), ("invented", "normal")]
    + [(each, each) for each in ("normal", "chat", "groupchat", "headline", "error")],
)
def test_messageType(attribute: str | None, kind: str) -> None:
    """Unknown and absent message types count as normal (RFC 6121 5.2.2)."""
    attrs = {} if attribute is None else {"type": attribute}
    assert messageType(Element(ns.CLIENT, "message", attrs)) == kind


def test_presenceType() -> None:
    """Available has no type; unknown types are bad-request."""
    assert presenceType(Element(ns.CLIENT, "presence")) == ""
    for kind in ("unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"):
        assert presenceType(Element(ns.CLIENT, "presence", {"type": kind})) == kind
    with pytest.raises(StanzaError):
        presenceType(Element(ns.CLIENT, "presence", {"type": "available"}))


def presence(priority: str) -> Element:
    return Element(ns.CLIENT, "presence", None, Element(ns.CLIENT, "priority", None, priority))


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("127", 127), ("-128", -128), ("+5", 5), (" 7\n", 7), ("007", 7)]
)
def test_priority(text: str, value: int) -> None:
    """Integers from -128 to 127, with the white space XML Schema ignores."""
    assert priorityOf(presence(text)) == value
    assert priorityOf(Element(ns.CLIENT, "presence")) == 0


@pytest.mark.parametrize(
    "text", ["", "128", "-129", "1.5", "NaN", "1e3", "\uff11\uff12", "0x10", "1 2", str(2**64), "9" * 1_000_000]
)
def test_badPriority(text: str) -> None:
    """Anything else is bad-request, at no cost (hardening X13)."""
    with pytest.raises(StanzaError):
        priorityOf(presence(text))


def test_delayed() -> None:
    """A held stanza says when it was sent; a forged notice in our name goes, others stay, the original too."""
    message = Element(ns.CLIENT, "message", {"to": BOB}, Element(ns.CLIENT, "body", None, "hi"))
    for by in ("example.com", "EXAMPLE.com.", "room@muc.example"):
        message.add(Element(ns.DELAY, "delay", {"from": by, "stamp": "1999-01-01T00:00:00Z"}))
    message.add(Element(ns.DELAY, "delay", {"stamp": "1999-01-01T00:00:00Z"}))
    before = message.copy()
    held = delayed(message, 1_000_000_000, "example.com", "Offline")
    assert message == before
    notices = held.findAll(ns.DELAY, "delay")
    assert [notice.get("from") for notice in notices] == ["room@muc.example", None, "example.com"]
    assert notices[-1].text == "Offline"
    assert delayOf(held, "example.com") == 1_000_000_000
    assert held.find(ns.CLIENT, "body") is not None
