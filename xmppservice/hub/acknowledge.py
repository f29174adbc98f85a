"""Which inbound stanzas may be acknowledged (XEP-0198 section 4; architecture section 6).

An acknowledgement means committed. Each inbound stanza has a number; one whose passage left
a ticket that is not settled yet, or that still waits for a handler, leaves a mark here. The
count that may be told to the peer ends just below the first open mark.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import IStore
    from xmppservice.hub.transit import Transit


class AckLedger:
    """Counts the stanzas received on one stream, or on all streams of a resumed session."""

    __slots__ = ("_marks", "_store", "handled")

    def __init__(self, store: IStore) -> None:
        self._store = store
        #: Stanzas received since ``<enabled/>``; never wraps, the ``h`` made from it does.
        self.handled = 0
        self._marks: deque[tuple[int, int | Transit]] = deque()

    def mark(self, transit: Transit) -> None:
        """The stanza counted last is not settled: it waits for a handler or for a ticket."""
        self._marks.append((self.handled, transit if transit.pending else transit.ticket))

    def _isSettled(self, mark: int | Transit) -> bool:
        if isinstance(mark, int):
            return mark <= self._store.committed
        return not mark.pending and mark.ticket <= self._store.committed

    def settled(self) -> int:
        """How many stanzas in a row, from the first, are settled."""
        marks = self._marks
        while marks and self._isSettled(marks[0][1]):
            marks.popleft()
        return marks[0][0] - 1 if marks else self.handled

    def restart(self, count: int) -> None:
        """The peer was told `count` on resumption and sends everything after it again."""
        self.handled = count
        self._marks.clear()
