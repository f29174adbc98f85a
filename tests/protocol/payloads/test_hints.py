"""XEP-0334 hints."""

from xmppservice.protocol.payloads.hints import NO_COPY, NO_STORE, hints
from xmppservice.wire import ns
from xmppservice.wire.element import Element


def test_hints() -> None:
    """All hints of a message are found, and nothing else in it."""
    message = Element(ns.CLIENT, "message", None, "text", Element(ns.CLIENT, "body"))
    assert hints(message) == frozenset()
    message.child(ns.HINTS, "no-copy")
    message.child(ns.HINTS, "no-store")
    message.child("urn:example:other", "store")
    assert hints(message) == {NO_COPY, NO_STORE}


def test_hintsInErrors() -> None:
    """An error may quote the hints of what it refuses; they do not count (section 5)."""
    assert hints(Element(ns.CLIENT, "message", {"type": "error"}, Element(ns.HINTS, "store"))) == frozenset()
