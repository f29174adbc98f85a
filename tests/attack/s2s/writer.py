"""A user who writes to other servers, and to whom every message comes back that was not delivered."""

from __future__ import annotations

import itertools

from tests.attack.raw import RawClient, stanzaError

TIMEOUT = ("wait", "remote-server-timeout")
FULL = ("wait", "resource-constraint")

_ids = itertools.count(1)


class Writer:
    """A user whose messages have to come back, and who looks after them when all is over: that takes a while."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.owed: set[str] = set()

    def write(self, domain: str, text: str = "secret", owed: bool = True) -> str:
        """A message to a domain; returns its id."""
        id = f"m{next(_ids)}"
        self.client.send(f"<message to='x@{domain}' id='{id}'><body>{text}</body></message>")
        if owed:
            self.owed.add(id)
        return id

    def bounce(self, id: str) -> tuple[str, str]:
        """How a message came back."""
        self.owed.discard(id)
        return stanzaError(self.client.find(lambda item: item.name == "message" and item.get("id") == id))

    def settle(self) -> None:
        """3.3: each message that was not delivered comes back, once, and may be tried again."""
        returned = set(self.owed)
        for id in sorted(returned):
            assert self.bounce(id) in (TIMEOUT, FULL), id
        self.client.ping()
        more = [item.get("id") for item in self.client.items]  # type: ignore[union-attr]
        assert len(set(more)) == len(more) and not returned & set(more)
