"""What was sent on a stream and is not in the kernel yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from xmppservice.hub.contracts.stream import IStream

Item = TypeVar("Item")


class Unflushed(Generic[Item]):
    """Items in the order in which they were sent; `taken` is called with each that the kernel has."""

    __slots__ = ("_items", "_stream", "_taken")

    def __init__(self, stream: IStream, taken: Callable[[Item], object]) -> None:
        self._stream = stream
        self._taken = taken
        self._items: deque[Item] = deque()

    def __len__(self) -> int:
        """How many the kernel has not taken."""
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """Those."""
        return iter(self._items)

    def sent(self, item: Item) -> None:
        """Something was sent just now. Only the first of several asks the stream."""
        self._items.append(item)
        if len(self._items) == 1:
            self._stream.afterFlush(lambda: self._flushed(1))

    def _flushed(self, count: int) -> None:
        """The kernel has the first `count`; what was sent since then asks anew."""
        for _ in range(min(count, len(self._items))):
            self._taken(self._items.popleft())
        rest = len(self._items)
        if rest:
            self._stream.afterFlush(lambda: self._flushed(rest))

    def takeBack(self) -> list[Item]:
        """The stream has gone: what the kernel has not taken, which is forgotten here."""
        items, self._items = list(self._items), deque()
        return items
