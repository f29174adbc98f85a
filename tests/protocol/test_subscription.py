"""Every cell of RFC 6121 Appendix A, and the rules around the tables.

The expectations are written as the appendix prints them, in words, and read from there, so that they
share nothing with the tables under test.
"""

import pytest

from xmppservice.protocol import subscription
from xmppservice.protocol.subscription import (
    APPROVED,
    FROM,
    KNOWN,
    PENDING_IN,
    PENDING_OUT,
    TO,
    TYPES,
    inbound,
    normalise,
    outbound,
    removal,
    subscriptionName,
)

STATES = {
    "None": 0,
    "None + Pending Out": PENDING_OUT,
    "None + Pending In": PENDING_IN,
    "None + Pending Out+In": PENDING_OUT | PENDING_IN,
    "To": TO,
    "To + Pending In": TO | PENDING_IN,
    "From": FROM,
    "From + Pending Out": FROM | PENDING_OUT,
    "Both": TO | FROM,
}

OUTBOUND = {
    "subscribe": """
        None                  | MUST | None + Pending Out
        None + Pending Out    | MUST | no state change
        None + Pending In     | MUST | None + Pending Out+In
        None + Pending Out+In | MUST | no state change
        To                    | MUST | no state change
        To + Pending In       | MUST | no state change
        From                  | MUST | From + Pending Out
        From + Pending Out    | MUST | no state change
        Both                  | MUST | no state change
    """,
    "unsubscribe": """
        None                  | MUST | no state change
        None + Pending Out    | MUST | None
        None + Pending In     | MUST | no state change
        None + Pending Out+In | MUST | None + Pending In
        To                    | MUST | None
        To + Pending In       | MUST | None + Pending In
        From                  | MUST | no state change
        From + Pending Out    | MUST | From
        Both                  | MUST | From
    """,
    "subscribed": """
        None                  | M.N. | pre-approval
        None + Pending Out    | M.N. | pre-approval
        None + Pending In     | MUST | From
        None + Pending Out+In | MUST | From + Pending Out
        To                    | M.N. | pre-approval
        To + Pending In       | MUST | Both
        From                  | M.N. | no state change
        From + Pending Out    | M.N. | no state change
        Both                  | M.N. | no state change
    """,
    "unsubscribed": """
        None                  | S.N. | no state change
        None + Pending Out    | S.N. | no state change
        None + Pending In     | MUST | None
        None + Pending Out+In | MUST | None + Pending Out
        To                    | S.N. | no state change
        To + Pending In       | MUST | To
        From                  | MUST | None
        From + Pending Out    | MUST | None + Pending Out
        Both                  | MUST | To
    """,
}

INBOUND = {
    "subscribe": """
        None                  | MUST | None + Pending In     |
        None + Pending Out    | MUST | None + Pending Out+In |
        None + Pending In     | S.N. | no state change       |
        None + Pending Out+In | S.N. | no state change       |
        To                    | MUST | To + Pending In       |
        To + Pending In       | S.N. | no state change       |
        From                  | S.N. | no state change       | subscribed
        From + Pending Out    | S.N. | no state change       | subscribed
        Both                  | S.N. | no state change       | subscribed
    """,
    "unsubscribe": """
        None                  | S.N. | no state change       |
        None + Pending Out    | S.N. | no state change       |
        None + Pending In     | MUST | None                  | unsubscribed
        None + Pending Out+In | MUST | None + Pending Out    | unsubscribed
        To                    | S.N. | no state change       |
        To + Pending In       | MUST | To                    | unsubscribed
        From                  | MUST | None                  | unsubscribed
        From + Pending Out    | MUST | None + Pending Out    | unsubscribed
        Both                  | MUST | To                    | unsubscribed
    """,
    "subscribed": """
        None                  | S.N. | no state change       |
        None + Pending Out    | MUST | To                    |
        None + Pending In     | S.N. | no state change       |
        None + Pending Out+In | MUST | To + Pending In       |
        To                    | S.N. | no state change       |
        To + Pending In       | S.N. | no state change       |
        From                  | S.N. | no state change       |
        From + Pending Out    | MUST | Both                  |
        Both                  | S.N. | no state change       |
    """,
    "unsubscribed": """
        None                  | S.N. | no state change       |
        None + Pending Out    | MUST | None                  |
        None + Pending In     | S.N. | no state change       |
        None + Pending Out+In | MUST | None + Pending In     |
        To                    | MUST | None                  |
        To + Pending In       | MUST | None + Pending In     |
        From                  | S.N. | no state change       |
        From + Pending Out    | MUST | From                  |
        Both                  | MUST | From                  |
    """,
}


def cells(tables: dict[str, str]) -> list[tuple[str, ...]]:
    """Read the printed tables into (type, column, column, ...)."""
    return [
        (type, *(column.strip() for column in line.split("|")))
        for type, table in tables.items()
        for line in table.strip().splitlines()
    ]


def listed(state: int) -> int:
    """The state as stored when the contact has a roster item wherever the RFC lets it have one."""
    return state | KNOWN


def newState(before: int, printed: str) -> int:
    if printed == "no state change":
        return before
    if printed == "pre-approval":
        return before | APPROVED | KNOWN
    return STATES[printed] | before & KNOWN


@pytest.mark.parametrize(("type", "state", "route", "new"), cells(OUTBOUND))
def test_outboundCell(type: str, state: str, route: str, new: str) -> None:
    """A.2: the new state, the routing, and a push exactly when the roster item changed."""
    before = listed(STATES[state])
    answer = outbound(before, type)
    assert answer.state == newState(before, new)
    assert answer.route is (route == "MUST")
    assert answer.push is (answer.state != before)


@pytest.mark.parametrize(("type", "state", "deliver", "new", "reply"), cells(INBOUND))
def test_inboundCell(type: str, state: str, deliver: str, new: str, reply: str) -> None:
    """A.3: the new state, the delivery, the automatic reply, and a push when clients can see the change."""
    before = listed(STATES[state])
    answer = inbound(before, type)
    assert answer.state == newState(before, new)
    assert answer.deliver is (deliver == "MUST")
    assert answer.reply == (reply or None)
    assert answer.push is (answer.state & ~PENDING_IN != before & ~PENDING_IN)


def test_everyCellIsListed() -> None:
    """The printed tables are complete: nine states for each of the four types, both ways."""
    for tables in (OUTBOUND, INBOUND):
        assert tuple(tables) == TYPES
        assert sorted(cell[:2] for cell in cells(tables)) == sorted((type, state) for type in TYPES for state in STATES)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("state", range(64))
def test_closed(state: int, type: str) -> None:
    """Every one of the 64 flag combinations is answered, with a state that the tables name."""
    for after in (outbound(state, type).state, inbound(state, type).state):
        assert normalise(after) == after
        assert after & 15 in STATES.values()


def test_unknownContact() -> None:
    """A request puts the contact into the roster; the contact's own request does not (3.1.2, 3.1.3)."""
    assert outbound(0, "subscribe") == (KNOWN | PENDING_OUT, True, True)
    assert inbound(0, "subscribe") == (PENDING_IN, True, False, None)
    assert outbound(PENDING_IN, "subscribed") == (KNOWN | FROM, True, True)
    assert outbound(PENDING_IN, "unsubscribed") == (0, True, False)
    assert inbound(PENDING_IN, "unsubscribe") == (0, True, False, "unsubscribed")
    for type in ("unsubscribe", "subscribed", "unsubscribed"):
        assert inbound(0, type) == (0, False, False, None)


@pytest.mark.parametrize(
    ("before", "after"), [(0, FROM), (PENDING_OUT, FROM | PENDING_OUT), (TO, TO | FROM)], ids=["none", "out", "to"]
)
def test_preApproval(before: int, after: int) -> None:
    """3.4: the approval is kept and pushed, not routed; the request it waits for is answered, not delivered."""
    approved = outbound(before, "subscribed")
    assert approved == (before | APPROVED | KNOWN, False, True)
    assert outbound(approved.state, "subscribed") == (approved.state, False, False)
    assert inbound(approved.state, "subscribe") == (after | KNOWN, False, True, "subscribed")


@pytest.mark.parametrize("before", [0, PENDING_OUT, TO])
def test_preApprovalCancelled(before: int) -> None:
    """3.2.2 rule 2: `unsubscribed` takes the approval back, with a push and without routing."""
    assert outbound(before | APPROVED | KNOWN, "unsubscribed") == (normalise(before | KNOWN), False, True)


def test_preApprovalSurvives() -> None:
    """Other traffic with the contact leaves the approval in place."""
    state = APPROVED | KNOWN
    state = outbound(state, "subscribe").state
    state = inbound(state, "subscribed").state
    assert state == TO | APPROVED | KNOWN
    assert inbound(state, "unsubscribed").state == APPROVED | KNOWN
    assert outbound(state, "unsubscribe").state == APPROVED | KNOWN


def test_mutualSubscription() -> None:
    """The whole exchange of section 3.1, seen from both servers, ends with both sides on `both`."""
    user = contact = 0
    for _ in range(2):
        user = outbound(user, "subscribe").state
        contact = inbound(contact, "subscribe").state
        contact = outbound(contact, "subscribed").state
        user = inbound(user, "subscribed").state
        user, contact = contact, user
    assert (user, contact) == (TO | FROM | KNOWN, TO | FROM | KNOWN)


def test_removal() -> None:
    """2.5.2: one presence for each direction, also for a request still open."""
    expected = {
        "None": (),
        "None + Pending Out": ("unsubscribe",),
        "None + Pending In": ("unsubscribed",),
        "None + Pending Out+In": ("unsubscribe", "unsubscribed"),
        "To": ("unsubscribe",),
        "To + Pending In": ("unsubscribe", "unsubscribed"),
        "From": ("unsubscribed",),
        "From + Pending Out": ("unsubscribe", "unsubscribed"),
        "Both": ("unsubscribe", "unsubscribed"),
    }
    assert {name: removal(state | KNOWN | APPROVED) for name, state in STATES.items()} == expected


def test_names() -> None:
    """The roster attribute shows neither requests nor approvals."""
    for name, state in STATES.items():
        assert subscriptionName(state | KNOWN) == name.split()[0].lower()
    assert subscriptionName(APPROVED | KNOWN) == "none"


def test_contradictions() -> None:
    """A flag that a stronger one makes meaningless is dropped."""
    assert normalise(TO | PENDING_OUT) == TO | KNOWN
    assert normalise(FROM | PENDING_IN | APPROVED) == FROM | KNOWN
    assert normalise(PENDING_IN | APPROVED | KNOWN) == PENDING_IN | KNOWN
    assert normalise(PENDING_IN) == PENDING_IN


@pytest.mark.parametrize("type", ["", "available", "probe", "error", "unavailable"])
def test_otherTypes(type: str) -> None:
    """Only the four subscription types have a row."""
    for direction in (subscription.outbound, subscription.inbound):
        with pytest.raises(KeyError):
            direction(0, type)
