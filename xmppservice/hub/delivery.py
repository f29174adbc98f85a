"""Delivery of messages to the resources of an account (RFC 6121 section 8.5, table 1).

The table of the RFC is a table here: which sessions get a message of a type, and what becomes
of it when there is none. Where the RFC leaves a choice we take: an error rather than silence
for normal and groupchat messages to a full JID that is gone; chat messages to the most
available resources (those that share the highest priority); normal messages and headlines to
all non-negative ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmppservice.hub.session import Session


class Choice(Enum):
    """Who gets a message to a bare JID, or to a full JID that matches nothing."""

    BEST = "the available sessions with the highest non-negative priority"
    ALL = "every available session with a non-negative priority"
    NOBODY = "no session"


class Otherwise(Enum):
    """What becomes of a message when there is no session for it."""

    STORE = "offline storage, or an error if that will not have it"
    BOUNCE = "an error for the sender"
    IGNORE = "nothing"


#: For bare JIDs: message type → who gets it, and otherwise.
BARE: dict[str, tuple[Choice, Otherwise]] = {
    "normal": (Choice.ALL, Otherwise.STORE),
    "chat": (Choice.BEST, Otherwise.STORE),
    "groupchat": (Choice.NOBODY, Otherwise.BOUNCE),
    "headline": (Choice.ALL, Otherwise.IGNORE),
    "error": (Choice.NOBODY, Otherwise.IGNORE),
}

#: For full JIDs that match no resource.
FULL: dict[str, tuple[Choice, Otherwise]] = {
    "normal": (Choice.NOBODY, Otherwise.BOUNCE),
    "chat": (Choice.BEST, Otherwise.STORE),
    "groupchat": (Choice.NOBODY, Otherwise.BOUNCE),
    "headline": (Choice.NOBODY, Otherwise.IGNORE),
    "error": (Choice.NOBODY, Otherwise.IGNORE),
}

#: For accounts that do not exist: message types that are answered with an error (8.5.1).
UNKNOWN_BOUNCES = frozenset({"normal", "chat", "groupchat"})


def choose(sessions: Sequence[Session], choice: Choice) -> Sequence[Session]:
    """The sessions that a choice means; negative priorities never get anything (8.5.2.1.1)."""
    if choice is Choice.NOBODY:
        return ()
    willing = [session for session in sessions if session.available and session.priority >= 0]
    if choice is Choice.ALL or len(willing) < 2:
        return willing
    highest = max(session.priority for session in willing)
    return [session for session in willing if session.priority == highest]
