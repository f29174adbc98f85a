"""The three error families: complete, with the right defaults and elements."""

import pytest

from xmppservice.protocol.errors import (
    ERROR_TYPES,
    SASL_CONDITIONS,
    STANZA_CONDITIONS,
    STREAM_CONDITIONS,
    SASLFailure,
    StanzaError,
    StreamError,
)
from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element
from xmppservice.wire.serializer import serialize

STANZA_TYPES = {
    "modify": {"bad-request", "jid-malformed", "not-acceptable", "policy-violation", "redirect"},
    "cancel": {
        "conflict",
        "feature-not-implemented",
        "gone",
        "internal-server-error",
        "item-not-found",
        "not-allowed",
        "remote-server-not-found",
        "service-unavailable",
        "undefined-condition",
    },
    "auth": {"forbidden", "not-authorized", "registration-required", "subscription-required"},
    "wait": {"recipient-unavailable", "remote-server-timeout", "resource-constraint", "unexpected-request"},
}
"""What RFC 6120 8.3.3 recommends, the other way round; where it offers two, the first."""


def test_counts() -> None:
    """The RFC defines 25 stream, 22 stanza and 11 SASL conditions."""
    assert (len(STREAM_CONDITIONS), len(STANZA_CONDITIONS), len(SASL_CONDITIONS)) == (25, 22, 11)


@pytest.mark.parametrize("condition", sorted(STREAM_CONDITIONS))
def test_streamError(condition: str) -> None:
    """A stream error is in the stream namespace, with its condition and text in their own (4.9.2)."""
    element = StreamError(condition, "Why.").toElement()
    first, text = element.elements()
    assert (element.ns, element.name) == (ns.STREAM, "error")
    assert (first.ns, first.name, first.children) == (ns.STREAM_ERRORS, condition, [])
    assert (text.ns, text.name, text.text, text.attrs) == (ns.STREAM_ERRORS, "text", "Why.", {XML_LANG: "en"})


@pytest.mark.parametrize("condition", sorted(STANZA_CONDITIONS))
def test_stanzaError(condition: str) -> None:
    """A stanza error defaults to the recommended type and carries no text unless given one."""
    error = StanzaError(condition)
    element = error.toElement()
    assert condition in STANZA_TYPES[error.type]
    assert element == Element(ns.CLIENT, "error", {"type": error.type}, Element(ns.STANZA_ERRORS, condition))


@pytest.mark.parametrize("condition", sorted(SASL_CONDITIONS))
def test_saslFailure(condition: str) -> None:
    """A SASL failure keeps all its children in the SASL namespace (6.4.5)."""
    element = SASLFailure(condition, "Why.").toElement()
    assert (element.ns, element.name) == (ns.SASL, "failure")
    assert [(child.ns, child.name) for child in element.elements()] == [(ns.SASL, condition), (ns.SASL, "text")]
    assert SASLFailure(condition).toElement() == Element(ns.SASL, "failure", None, Element(ns.SASL, condition))


@pytest.mark.parametrize("family", [StreamError, StanzaError, SASLFailure])
def test_unknownCondition(family: type[StreamError] | type[StanzaError] | type[SASLFailure]) -> None:
    """A condition of our own invention is a mistake of ours, found at once."""
    with pytest.raises(ValueError):
        family("no-such-condition")


def test_unknownType() -> None:
    """Only the five error types exist."""
    assert ERROR_TYPES == {"auth", "cancel", "continue", "modify", "wait"}
    assert StanzaError("policy-violation", "wait").type == "wait"
    with pytest.raises(ValueError):
        StanzaError("policy-violation", "retry")


def test_stanzaErrorParts() -> None:
    """The generator, the text, the application's condition and an address each have their place (8.3.2)."""
    app = Element("urn:example:app", "too-many", {"max": "3"})
    element = StanzaError("gone", "modify", "Moved.", app, by="example.com", data="xmpp:new@example.com").toElement()
    condition, text, last = element.elements()
    assert element.attrs == {"type": "modify", "by": "example.com"}
    assert condition.text == "xmpp:new@example.com"
    assert text.text == "Moved."
    assert last == app


def test_streamErrorParts() -> None:
    """The address of `see-other-host` is in the condition, the application's condition comes last."""
    app = Element(ns.ERRORS, "stanza-too-big")
    element = StreamError("policy-violation", "Too big.", app).toElement()
    assert [child.name for child in element.elements()] == ["policy-violation", "text", "stanza-too-big"]
    element = StreamError("see-other-host", data="[2001:db8::1]:5222").toElement()
    assert element.elements()[0].text == "[2001:db8::1]:5222"


def test_serialised() -> None:
    """On the wire a stanza error needs no prefix."""
    data = serialize(StanzaError("item-not-found", text="a < b").toElement())
    assert data.startswith(b"<error type=")
    assert b"a &lt; b" in data


def test_readBack() -> None:
    """What we send we also understand."""
    error = StanzaError("gone", "cancel", "Moved.", Element("urn:example:app", "x"), "example.com", "xmpp:a@b")
    stanza = Element(ns.CLIENT, "iq", {"type": "error"}, error.toElement())
    read = StanzaError.fromStanza(stanza)
    for name in ("condition", "type", "text", "app", "by", "data"):
        assert getattr(read, name) == getattr(error, name), name


def test_readUnknown() -> None:
    """An unknown condition counts as undefined-condition (8.3.2), and so does its absence."""
    strange = Element(ns.CLIENT, "error", {"type": "strange"}, Element(ns.STANZA_ERRORS, "on-fire"))
    for stanza in (Element(ns.CLIENT, "iq", None, strange), Element(ns.CLIENT, "iq")):
        assert StanzaError.fromStanza(stanza).condition == "undefined-condition"
        assert StanzaError.fromStanza(stanza).type == "cancel"


def test_logged() -> None:
    """As text an error is its condition and its reason."""
    assert str(StreamError("host-unknown")) == "host-unknown"
    assert str(StanzaError("forbidden", text="No.")) == "forbidden: No."
    assert str(SASLFailure("aborted", "Stop.")) == "aborted: Stop."
