"""Message processing hints (XEP-0334): what the sender would like kept and copied."""

from __future__ import annotations

from typing import Final

from xmppservice.wire import ns
from xmppservice.wire.element import Element

NO_STORE: Final = "no-store"
NO_PERMANENT_STORE: Final = "no-permanent-store"
NO_COPY: Final = "no-copy"
STORE: Final = "store"

_NONE: Final[frozenset[str]] = frozenset()


def hints(message: Element) -> frozenset[str]:
    """Return the names of the hints in a message; none count in an error, which may quote them (section 5)."""
    found = [child.name for child in message.children if isinstance(child, Element) and child.ns == ns.HINTS]
    if not found or message.get("type") == "error":
        return _NONE
    return frozenset(found)
