"""What has happened between servers: plain counts, read by whoever shows figures. No domain stands in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xmppservice.hub.federation.link import ServerLink


class Tally:
    """The counts of one `Federation`."""

    __slots__ = ("_received", "_sent", "failures", "proofs", "refused")

    def __init__(self) -> None:
        #: Attempts to reach another server that came to nothing, by what senders were told.
        self.failures: dict[str, int] = {}
        #: Pairs that were proved: "in" by another server to us, "out" by us to it; and how.
        self.proofs: dict[tuple[str, str], int] = {}
        #: Proofs of others by dialback that were refused.
        self.refused = 0
        # Stanzas of streams that have gone.
        self._sent = self._received = 0

    def failed(self, condition: str) -> None:
        """An attempt came to nothing."""
        self.failures[condition] = self.failures.get(condition, 0) + 1

    def proved(self, direction: str, how: str) -> None:
        """A pair was proved, "in" or "out"; `how` as `ServerLink.how` has it, whose last word is what was relied on."""
        key = direction, how.rpartition(", ")[2].removeprefix("by ").lower()
        self.proofs[key] = self.proofs.get(key, 0) + 1

    def left(self, link: ServerLink) -> None:
        """A stream has gone: what it carried stays counted."""
        self._sent += link.sent
        self._received += link.received

    def stanzas(self, links: Iterable[ServerLink]) -> tuple[int, int]:
        """Stanzas sent and received, with those of the streams that are up."""
        sent, received = self._sent, self._received
        for link in links:
            sent += link.sent
            received += link.received
        return sent, received
