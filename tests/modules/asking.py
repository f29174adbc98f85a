"""What tests of modules that answer IQs share: asking, and reading the answers."""

from __future__ import annotations

from xmppservice.testing import MemoryClient
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import escapeAttribute


def ask(client: MemoryClient, payload: str, type: str = "get", to: str | None = None) -> Element:
    """Send an IQ request and take its answer."""
    target = f" to='{escapeAttribute(to)}'" if to else ""
    return client.query(f"<iq type='{type}' id='ask'{target}>{payload}</iq>")


def payload(client: MemoryClient, xml: str, type: str = "get", to: str | None = None) -> Element:
    """Ask, and take what the result carries; AssertionError for an error or an empty result."""
    answer = ask(client, xml, type, to)
    assert answer.get("type") == "result", (answer, answer.elements())
    [found] = answer.elements()
    return found


def condition(answer: Element) -> str:
    """The condition of an error, such as ``forbidden``; AssertionError for a result."""
    error = answer.find(ns.CLIENT, "error")
    assert answer.get("type") == "error" and error is not None, (answer, answer.elements())
    return next(child.name for child in error.elements() if child.ns == ns.STANZA_ERRORS)


def refused(client: MemoryClient, xml: str, type: str = "get", to: str | None = None) -> str:
    """Ask, and take the condition of the error."""
    return condition(ask(client, xml, type, to))
