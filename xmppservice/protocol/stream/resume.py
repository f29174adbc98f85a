"""XEP-0198 without I/O: the count of what was sent and the queue of unacknowledged bytes.

Theory of operation. Each side counts the stanzas it has handled (`h`) and the stanzas it
has sent, both modulo 2**32 (section 4). Because the queue holds exactly the stanzas
between the last acknowledged count and the sent count, an acknowledgement is judged by
its distance from the last one, taken modulo 2**32: a distance longer than the queue is
a count of stanzas that were never sent. No other state is needed, so wrap-around needs
no special case.

The queue holds bytes and not trees: an entry is what was written to the stream, plus a
key of whoever must know when it was taken, None for nobody.
"""

from __future__ import annotations

from typing import Any

MODULUS = 1 << 32
_MASK = MODULUS - 1

Entry = tuple[bytes, Any]
"""The bytes of one stanza as they were sent, and whatever its owner wants back with it."""


class HandledCountTooHigh(Exception):
    """The peer acknowledged stanzas that were never sent (XEP-0198 section 6)."""

    def __init__(self, h: int, sent: int) -> None:
        super().__init__(f"acknowledged {h}, but only {sent} were sent")
        self.h = h
        self.sent = sent


def parseCount(text: str | None) -> int | None:
    """An `h` attribute as an int, or None if it is no unsignedInt (ASCII digits only)."""
    if text is None or not 0 < len(text) <= 10 or not (text.isascii() and text.isdigit()):
        return None
    count = int(text)
    return count if count < MODULUS else None


class ResumeQueue:
    """Counters and unacknowledged stanzas of one stream-management session.

    `maxBytes` and `maxCount` bound the queue: `full` says that it is over one of them.
    The queue itself refuses nothing; its owner closes the stream. One stanza weighs half of
    `maxBytes` at most: else one that is larger than the queue could never be delivered, and
    would end each session that tries.
    """

    __slots__ = ("_acknowledged", "_entries", "_heaviest", "maxBytes", "maxCount", "size")

    def __init__(self, maxBytes: int = 4 << 20, maxCount: int = 10_000) -> None:
        self.maxBytes = maxBytes
        self.maxCount = maxCount
        self.size = 0
        self._heaviest = maxBytes // 2
        self._acknowledged = 0
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        """How many stanzas are unacknowledged."""
        return len(self._entries)

    @property
    def sentCount(self) -> int:
        """How many stanzas were sent, modulo 2**32."""
        return (self._acknowledged + len(self._entries)) & _MASK

    @property
    def acknowledgedCount(self) -> int:
        """The last count the peer acknowledged."""
        return self._acknowledged

    @property
    def full(self) -> bool:
        """Whether more is unacknowledged than this queue is meant to hold."""
        return self.size > self.maxBytes or len(self._entries) > self.maxCount

    @property
    def unacknowledged(self) -> list[Entry]:
        """What the peer has not acknowledged, oldest first (a copy)."""
        return self._entries.copy()

    def sent(self, data: bytes, key: Any = None) -> None:
        """Count one stanza as sent and keep its bytes until it is acknowledged."""
        self._entries.append((data, key))
        size = len(data)
        self.size += size if size < self._heaviest else self._heaviest

    def acknowledge(self, h: int) -> list[Entry]:
        """Take the peer's `h`; returns what it released, oldest first.

        Raises `HandledCountTooHigh`. An `h` that was passed already (the peer counts
        backwards) is too high by nearly 2**32, so it is refused as well.
        """
        entries = self._entries
        distance = (h - self._acknowledged) & _MASK
        if distance > len(entries):
            raise HandledCountTooHigh(h, self.sentCount)
        if not distance:
            return []
        released = entries[:distance]
        del entries[:distance]
        self._acknowledged = h
        heaviest = self._heaviest
        self.size -= sum([min(len(data), heaviest) for data, _ in released])
        return released
