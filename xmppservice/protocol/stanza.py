"""Stanzas: their types, their answers, and what makes one malformed (RFC 6120 section 8).

All elements here are in the internal stanza namespace, whatever the stream they came from.
"""

from __future__ import annotations

import re
from typing import Final

from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.protocol.payloads.delay import delay
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import innerBytes

STANZAS: Final = frozenset({"message", "presence", "iq"})
"""The names of the three stanzas."""

IQ_TYPES: Final = frozenset({"get", "set", "result", "error"})
"""The types of an IQ (RFC 6120 8.2.3); one of them is required."""

MESSAGE_TYPES: Final = frozenset({"normal", "chat", "groupchat", "headline", "error"})
"""The types of a message (RFC 6121 5.2.2); anything else counts as normal."""

PRESENCE_TYPES: Final = frozenset(
    {"", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"}
)
"""The types of a presence (RFC 6121 4.7.1); "" is available."""

SUBSCRIPTION_TYPES: Final = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})
"""The presence types that manage subscriptions."""

_QUOTED_SIZE: Final = 2048
_readPriority = re.compile(r"\s*([+-]?[0-9]{1,6})\s*", re.ASCII).fullmatch


def resultFor(iq: Element, payload: Element | None = None) -> Element:
    """Return the result that answers an IQ get or set, from its recipient to its sender."""
    reply = Element(ns.CLIENT, "iq")
    reply.attrs = _answerAttrs(iq.attrs, "result")
    if payload is not None:
        reply.children.append(payload)
    return reply


def errorFor(stanza: Element, error: StanzaError, quote: bool = False) -> Element | None:
    """Return the error stanza that answers `stanza`, or None where none may be sent (8.3.1).

    Errors and IQ results are never answered.  With `quote`, the original content goes back too if it is
    less than 2 KiB.
    """
    kind = stanza.attrs.get("type")
    if kind == "error" or (kind == "result" and stanza.name == "iq"):
        return None
    reply = Element(ns.CLIENT, stanza.name)
    reply.attrs = _answerAttrs(stanza.attrs, "error")
    if stanza.name == "iq":
        # "Or be empty": an IQ error has an id in any case (rule 3).
        reply.attrs.setdefault("id", "")
    if error.condition == "jid-malformed":
        _dropMalformed(reply.attrs)
    if quote and len(innerBytes(stanza)) < _QUOTED_SIZE:
        reply.children += stanza.copy().children
    reply.children.append(error.toElement())
    return reply


def _answerAttrs(attrs: dict[str, str], kind: str) -> dict[str, str]:
    """Swap the addresses and keep the id; what the question lacked the answer lacks too."""
    answer = {"type": kind}
    if "id" in attrs:
        answer["id"] = attrs["id"]
    if "to" in attrs:
        answer["from"] = attrs["to"]
    if "from" in attrs:
        answer["to"] = attrs["from"]
    return answer


def _dropMalformed(attrs: dict[str, str]) -> None:
    """Leave out addresses that no stanza of ours may carry (8.3.1 rule 2)."""
    for key in ("from", "to"):
        if key in attrs:
            try:
                JID.parse(attrs[key])
            except InvalidJID:
                del attrs[key]


def checkIQ(iq: Element) -> None:
    """Raise StanzaError bad-request if an IQ breaks the rules of 8.2.3."""
    attrs = iq.attrs
    kind = attrs.get("type")
    if kind not in IQ_TYPES:
        raise StanzaError("bad-request", text="An IQ needs a type: get, set, result or error.")
    if "id" not in attrs:
        raise StanzaError("bad-request", text="An IQ needs an id.")
    count = 0
    for child in iq.children:
        if type(child) is not str:
            count += 1
    if kind == "error":
        if iq.find(ns.CLIENT, "error") is None:
            raise StanzaError("bad-request", text="An IQ error needs an error element.")
    elif count != 1 and (kind != "result" or count):
        raise StanzaError("bad-request", text="An IQ get or set has exactly one child element, a result at most one.")


def messageType(message: Element) -> str:
    """Return the type of a message; an absent or unknown one is normal (RFC 6121 5.2.2)."""
    kind = message.attrs.get("type", "normal")
    return kind if kind in MESSAGE_TYPES else "normal"


def presenceType(presence: Element) -> str:
    """Return the type of a presence, "" for available; raise StanzaError bad-request for an unknown one."""
    kind = presence.attrs.get("type", "")
    if kind in PRESENCE_TYPES:
        return kind
    raise StanzaError("bad-request", text="That is no type of presence.")


def priorityOf(presence: Element) -> int:
    """Return a presence's priority, 0 if absent; raise StanzaError bad-request if it is none (RFC 6121 4.7.2.3)."""
    element = presence.find(ns.CLIENT, "priority")
    if element is None:
        return 0
    found = _readPriority(element.text)
    value = int(found[1]) if found else 128
    if not -128 <= value <= 127:
        raise StanzaError("bad-request", text="A priority is a number from -128 to 127.")
    return value


def delayed(stanza: Element, stamp: float, by: str, reason: str | None = None) -> Element:
    """Return a copy of the stanza that says it was sent at `stamp` and held back by the address `by` (XEP-0203).

    A delay that already claims to be from `by` is forged and gets dropped; others' delays stay.
    """
    copy = stanza.copy()
    copy.children = [child for child in copy.children if not isDelayBy(child, by)]
    copy.add(delay(stamp, by, reason))
    return copy


def isDelayBy(child: Element | str, by: str) -> bool:
    """Whether a child is a delay that claims to be from the address `by` (XEP-0203)."""
    if isinstance(child, str) or child.ns != ns.DELAY or child.name != "delay":
        return False
    claimed = child.get("from", "")
    try:
        return claimed == by or JID.parse(claimed or "").full == by
    except InvalidJID:
        return False
