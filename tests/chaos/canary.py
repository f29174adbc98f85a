"""A client that pings the server all the time, and notes how long the answers take."""

from __future__ import annotations

import time

from tests.chaos.book import Book
from tests.chaos.client import DOMAIN, Client
from xmppservice.wire.items import Item

_PAUSE = 0.02


class Canary(Client):
    """One ping at a time, the next one a little after the answer."""

    def __init__(self, user: str) -> None:
        super().__init__(user, Book("canary"), managed=False)
        self.count = 0
        self.worst = 0.0
        self._sent: float | None = None
        self._next = 0.0

    def tick(self, now: float) -> None:
        """Ping if it is time."""
        super().tick(now)
        if self.sock is None or self._sent is not None or now < self._next:
            return
        self._sent = now
        self.write(f"<iq type='get' id='p{self.count}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>".encode())

    def _item(self, item: Item) -> None:
        super()._item(item)
        if self._sent is not None and getattr(item, "name", "") == "iq":
            assert item.get("type") == "result", item  # type: ignore[union-attr]
            now = time.monotonic()
            self.worst = max(self.worst, now - self._sent)
            self.count += 1
            self._sent, self._next = None, now + _PAUSE

    def drop(self) -> None:
        """Forget the connection; an answer that has not come yet counts until now."""
        self.worst, self._sent = self.silence, None
        super().drop()

    @property
    def silence(self) -> float:
        """The longest wait for an answer, one that has not come yet included."""
        return max(self.worst, 0.0 if self._sent is None else time.monotonic() - self._sent)

    def __str__(self) -> str:
        return f"{self.count} pings, the slowest {self.silence:.2f} s"
