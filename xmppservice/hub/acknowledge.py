"""Which inbound stanzas may be acknowledged (XEP-0198 section 4; architecture section 6).

An acknowledgement means committed. Each inbound stanza has a number; one whose passage left
a ticket that is not settled yet, or that still waits for a handler, leaves a mark here. The
count that may be told to the peer ends just below the first open mark.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream.resume import HandledCountTooHigh, parseCount
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import IStore
    from xmppservice.hub.transit import Transit

#: Seconds that an ``<r/>`` may wait for commits before it gets the count as it stands.
ANSWER_DEADLINE: Final = 1.0

#: How many ``<r/>`` of one peer are held one by one.
HELD_LIMIT: Final = 64


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


def countOf(answer: Element) -> int:
    """The ``h`` of an ``<a/>`` or ``<resumed/>``; raises `StreamError` if it is none."""
    h = parseCount(answer.get("h"))
    if h is None:
        raise StreamError("invalid-xml", "'h' must be a number")
    return h


def tooHigh(error: HandledCountTooHigh) -> StreamError:
    """What a peer is told that acknowledges what was never sent (XEP-0198 section 6)."""
    app = Element(ns.SM, "handled-count-too-high", {"h": str(error.h), "send-count": str(error.sent)})
    return StreamError("undefined-condition", str(error), app)


class HeldAnswers:
    """The ``<r/>`` of one peer that cannot be answered in full yet."""

    __slots__ = ("_counts", "_deadline")

    def __init__(self) -> None:
        #: The counts that answers must reach, oldest first, and when the first of them is due anyway.
        self._counts: list[int] = []
        self._deadline = 0.0

    def __bool__(self) -> bool:
        """Whether any is held."""
        return bool(self._counts)

    def hold(self, ledger: AckLedger, now: float) -> bool:
        """``<r/>``: hold its answer unless all that came before it is committed; whether it is held."""
        if ledger.settled() == ledger.handled:
            return False
        if len(self._counts) == HELD_LIMIT:
            # The newest takes the place of the one before it, whose stanzas its answer covers.
            self._counts.pop()
        deadline = now + ANSWER_DEADLINE
        # Those that have waited for their time are answered again when the rest is committed.
        self._deadline = min(self._deadline, deadline) if self._counts else deadline
        self._counts.append(ledger.handled)
        return True

    def due(self, ledger: AckLedger, now: float) -> bool:
        """After a commit, or once a while: whether the peer is to be told the count now."""
        if not self._counts:
            return False
        count = ledger.settled()
        if count >= self._counts[0]:
            # One answer covers all requests that the commit has reached.
            self._counts = [wanted for wanted in self._counts if wanted > count]
            self._deadline = now + ANSWER_DEADLINE
            return True
        if now >= self._deadline:
            # The peer gets what is true now, and another answer when the rest is committed.
            self._deadline = float("inf")
            return True
        return False

    def clear(self) -> None:
        """They were answered otherwise."""
        self._counts.clear()
