"""A cache bounded by bytes, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteBoundedCache(Generic[K, V]):
    """Keeps values while their sizes sum up to at most `limit`.

    :param limit: the bound in bytes
    :param sizeOf: estimates the bytes of a value; asked when it is put and when `resized` is called
    """

    __slots__ = ("_entries", "_sizeOf", "hits", "limit", "misses", "size")

    def __init__(self, limit: int, sizeOf: Callable[[V], int]) -> None:
        self.limit = limit
        #: The bytes in use.
        self.size = 0
        self.hits = 0
        self.misses = 0
        self._sizeOf = sizeOf
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, which is thereby the most recently used; None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V) -> None:
        """Keep a value, in place of the key's former one.

        One that is larger than the whole cache is not kept.
        """
        self.pop(key)
        size = self._sizeOf(value)
        if size > self.limit:
            return
        self._entries[key] = (value, size)
        self.size += size
        self._shrink()

    def resized(self, key: K) -> None:
        """The value changed its size in place."""
        entry = self._entries.get(key)
        if entry is not None:
            self.put(key, entry[0])

    def pop(self, key: K) -> V | None:
        """Forget a key; return its value if there was one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self.size -= entry[1]
        return entry[0]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size = 0

    def _shrink(self) -> None:
        entries = self._entries
        while self.size > self.limit:
            _key, (_value, size) = entries.popitem(last=False)
            self.size -= size

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
