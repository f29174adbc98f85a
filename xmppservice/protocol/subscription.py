"""Presence subscription states (RFC 6121 section 3 and Appendix A), as tables.

A state is an int of bit flags, as the roster stores it.  Four flags give the nine states of Appendix
A.1; two more say what the appendix leaves to the text: whether the contact is in the roster at all,
and whether its request is approved in advance (3.4).

Theory of operation.  The two tables below hold every cell of Appendix A.2 and A.3.  At import they are
unrolled, with the rules for the other two flags, into one answer for each of the 64 states and four
stanza types, so that `outbound` and `inbound` are two look-ups.  Flag combinations that no table
names (a subscription that is also still asked for) are first reduced to the stronger flag.

Choices the RFC leaves open: a pre-approval is used up by the request it approves; and removing a
roster item also withdraws our own pending request and denies the contact's, because the record of
both goes with the item.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TO: Final = 1
"""The user sees the contact's presence."""
FROM: Final = 2
"""The contact sees the user's presence."""
PENDING_OUT: Final = 4
"""The user asked for the contact's presence (ask='subscribe')."""
PENDING_IN: Final = 8
"""The contact asked for the user's presence; not shown in the roster."""
APPROVED: Final = 16
"""The user approved the contact's request before it came (3.4)."""
KNOWN: Final = 32
"""The contact has an item in the roster; a bare PENDING_IN has none."""

NONE: Final = 0
BOTH: Final = TO | FROM
TYPES: Final = ("subscribe", "unsubscribe", "subscribed", "unsubscribed")
"""The presence types that change subscriptions, in the order of the tables' columns."""

_SUBSCRIPTION: Final = TO | FROM | PENDING_OUT | PENDING_IN
_VISIBLE: Final = KNOWN | TO | FROM | PENDING_OUT | APPROVED
_LISTED: Final = TO | FROM | PENDING_OUT | APPROVED
_NAMES: Final = ("none", "to", "from", "both")


class Outbound(NamedTuple):
    """What the server does with a subscription stanza of its own user."""

    state: int
    route: bool
    """Whether the stanza goes on to the contact."""
    push: bool
    """Whether the user's interested resources get a roster push."""


class Inbound(NamedTuple):
    """What the server does with a subscription stanza from a contact."""

    state: int
    deliver: bool
    """Whether the stanza goes to the user's resources."""
    push: bool
    """Whether the user's interested resources get a roster push, after the stanza."""
    reply: str | None
    """The type of the presence to answer with, from bare address to bare address."""


_Cell = tuple[int, bool]
_Row = tuple[_Cell, _Cell, _Cell, _Cell]

_OUT: Final = PENDING_OUT
_IN: Final = PENDING_IN
_YES: Final = True
_NO: Final = False

# Each cell: the new state, and whether the stanza is routed (A.2.1-A.2.4).
_OUTBOUND: Final[dict[int, _Row]] = {
    # state        subscribe               unsubscribe     subscribed            unsubscribed
    NONE: ((_OUT, _YES), (NONE, _YES), (NONE, _NO), (NONE, _NO)),
    _OUT: ((_OUT, _YES), (NONE, _YES), (_OUT, _NO), (_OUT, _NO)),
    _IN: ((_OUT | _IN, _YES), (_IN, _YES), (FROM, _YES), (NONE, _YES)),
    _OUT | _IN: ((_OUT | _IN, _YES), (_IN, _YES), (FROM | _OUT, _YES), (_OUT, _YES)),
    TO: ((TO, _YES), (NONE, _YES), (TO, _NO), (TO, _NO)),
    TO | _IN: ((TO | _IN, _YES), (_IN, _YES), (BOTH, _YES), (TO, _YES)),
    FROM: ((FROM | _OUT, _YES), (FROM, _YES), (FROM, _NO), (NONE, _YES)),
    FROM | _OUT: ((FROM | _OUT, _YES), (FROM, _YES), (FROM | _OUT, _NO), (_OUT, _YES)),
    BOTH: ((BOTH, _YES), (FROM, _YES), (BOTH, _NO), (TO, _YES)),
}

# Each cell: the new state, and whether the stanza is delivered (A.3.1-A.3.4).
_INBOUND: Final[dict[int, _Row]] = {
    # state        subscribe               unsubscribe     subscribed            unsubscribed
    NONE: ((_IN, _YES), (NONE, _NO), (NONE, _NO), (NONE, _NO)),
    _OUT: ((_OUT | _IN, _YES), (_OUT, _NO), (TO, _YES), (NONE, _YES)),
    _IN: ((_IN, _NO), (NONE, _YES), (_IN, _NO), (_IN, _NO)),
    _OUT | _IN: ((_OUT | _IN, _NO), (_OUT, _YES), (TO | _IN, _YES), (_IN, _YES)),
    TO: ((TO | _IN, _YES), (TO, _NO), (TO, _NO), (NONE, _YES)),
    TO | _IN: ((TO | _IN, _NO), (TO, _YES), (TO | _IN, _NO), (_IN, _YES)),
    FROM: ((FROM, _NO), (NONE, _YES), (FROM, _NO), (FROM, _NO)),
    FROM | _OUT: ((FROM | _OUT, _NO), (_OUT, _YES), (BOTH, _YES), (FROM, _YES)),
    BOTH: ((BOTH, _NO), (TO, _YES), (BOTH, _NO), (FROM, _YES)),
}


def normalise(state: int) -> int:
    """Reduce any combination of flags to one that the tables name."""
    if state & TO:
        state &= ~PENDING_OUT
    if state & FROM:
        state &= ~PENDING_IN
    if state & (FROM | PENDING_IN):
        state &= ~APPROVED
    if state & _LISTED:
        state |= KNOWN
    return state


def subscriptionName(state: int) -> str:
    """Return the value of a roster item's `subscription` attribute: none, to, from or both."""
    return _NAMES[state & BOTH]


def removal(state: int) -> tuple[str, ...]:
    """Return the presence types to send to a contact whose roster item is removed (2.5.2)."""
    types = []
    if state & (TO | PENDING_OUT):
        types.append("unsubscribe")
    if state & (FROM | PENDING_IN):
        types.append("unsubscribed")
    return tuple(types)


def outbound(state: int, type: str) -> Outbound:
    """Return what becomes of a subscription stanza that the user sent (A.2); KeyError for other types."""
    return _OUTBOUND_ANSWERS[type][state]


def inbound(state: int, type: str) -> Inbound:
    """Return what becomes of a subscription stanza that a contact sent (A.3); KeyError for other types."""
    return _INBOUND_ANSWERS[type][state]


def _outboundAnswer(state: int, column: int) -> Outbound:
    before = normalise(state)
    new, route = _OUTBOUND[before & _SUBSCRIPTION][column]
    after = new | before & (APPROVED | KNOWN)
    if TYPES[column] == "subscribed" and not new & FROM:
        after |= APPROVED
    elif TYPES[column] == "unsubscribed":
        after &= ~APPROVED
    after = normalise(after)
    return Outbound(after, route, after != before and bool(after & KNOWN))


def _inboundAnswer(state: int, column: int) -> Inbound:
    before = normalise(state)
    old = before & _SUBSCRIPTION
    new, deliver = _INBOUND[old][column]
    reply = None
    if TYPES[column] == "subscribe":
        if before & APPROVED:
            new, deliver = old | FROM, False
        if new & FROM:
            reply = "subscribed"
    elif TYPES[column] == "unsubscribe" and new != old:
        reply = "unsubscribed"
    after = normalise(new | before & (APPROVED | KNOWN))
    return Inbound(after, deliver, (after ^ before) & _VISIBLE != 0, reply)


_STATES: Final = range(2 * KNOWN)
_OUTBOUND_ANSWERS: Final = {
    type: tuple(_outboundAnswer(state, column) for state in _STATES) for column, type in enumerate(TYPES)
}
_INBOUND_ANSWERS: Final = {
    type: tuple(_inboundAnswer(state, column) for state in _STATES) for column, type in enumerate(TYPES)
}
