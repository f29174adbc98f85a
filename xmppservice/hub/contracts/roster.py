"""What other modules may ask of the one that serves contact lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zope.interface import Interface

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.transit import Transit
    from xmppservice.wire.element import Element


class IContactLists(Interface):
    """Answers roster requests for others than the owner, whose right has been checked, and tells of changes."""

    def readFor(transit: Transit) -> Any:
        """Answer a roster get for ``transit.account``; returns what an IQ's method may return."""

    def changeFor(transit: Transit, domain: str) -> Any:
        """Carry out a roster set on ``transit.account``.

        For contacts at `domain`, whose side of the subscription is the asker's to decide, ``subscription`` counts.
        """

    def watch(watcher: Callable[[Account, Element], object]) -> Callable[[], None]:
        """From now on tell of each change, with the payload of the push (RFC 6121 2.1.6); returns how to end it."""
