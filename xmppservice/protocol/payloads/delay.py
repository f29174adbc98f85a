"""Delayed delivery (XEP-0203): when a stanza was really sent, and who held it back."""

from __future__ import annotations

from xmppservice.protocol.payloads.datetime import parseStamp
from xmppservice.protocol.payloads.datetime import stamp as formatStamp
from xmppservice.wire import ns
from xmppservice.wire.element import Element


def delay(stamp: float, by: str, reason: str | None = None) -> Element:
    """Return a `<delay/>` for a stanza sent at `stamp` (seconds since 1970) and held back by the address `by`."""
    element = Element(ns.DELAY, "delay", {"from": by, "stamp": formatStamp(stamp)})
    if reason:
        element.children.append(reason)
    return element


def delayOf(stanza: Element, by: str | None = None) -> float | None:
    """Return when the stanza was sent, by its first readable `<delay/>`, or by the one of the address `by`."""
    for element in stanza.findAll(ns.DELAY, "delay"):
        if by is None or element.get("from") == by:
            try:
                return parseStamp(element.get("stamp") or "")
            except ValueError:
                continue
    return None
