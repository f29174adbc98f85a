"""Keeping stanzas of a pair in order while a handler waits (architecture section 4, Waiting).

What waits is a key (on a stream: the pair from-bare, to-bare; on a recipient's side: the
account). Later stanzas with the same key queue behind it; others pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

#: How many stanzas may wait in one `WaitingLine`, or be waited for, before its owner stops reading.
WAITING_LIMIT = 64


class WaitingLine:
    """The queues of one owner, by key. `onDrained` is called when it was full and is no more."""

    __slots__ = ("_count", "_full", "_onDrained", "_onFull", "_open", "_queues")

    def __init__(self, onFull: Callable[[], None], onDrained: Callable[[], None]) -> None:
        self._queues: dict[Hashable, deque[Callable[[], None]]] = {}
        #: How many waits are open under a key: one may begin in the midst of another.
        self._open: dict[Hashable, int] = {}
        self._count = 0
        self._full = False
        self._onFull = onFull
        self._onDrained = onDrained

    def __contains__(self, key: Hashable) -> bool:
        return key in self._queues

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def begin(self, key: Hashable) -> None:
        """Something with this key waits from now on."""
        self._queues.setdefault(key, deque())
        self._open[key] = self._open.get(key, 0) + 1
        self._counted()

    def join(self, key: Hashable, action: Callable[[], None]) -> None:
        """Run `action` after all that waits under `key`."""
        self._queues[key].append(action)
        self._counted()

    def _counted(self) -> None:
        self._count += 1
        if self._count >= WAITING_LIMIT and not self._full:
            self._full = True
            self._onFull()

    def end(self, key: Hashable) -> None:
        """A wait is over: with the last, run what has queued up, in order, until something waits again."""
        waits = self._open.pop(key, 0)
        if waits:
            self._count -= 1
        if waits > 1:
            self._open[key] = waits - 1
        else:
            self._follow(key)
        if self._full and self._count < WAITING_LIMIT // 2:
            self._full = False
            self._onDrained()

    def _follow(self, key: Hashable) -> None:
        """What has queued up under a key goes on."""
        queue = self._queues.pop(key, None)
        while queue:
            action = queue.popleft()
            self._count -= 1
            action()
            if key in self._queues:
                self._queues[key].extendleft(reversed(queue))
                break
