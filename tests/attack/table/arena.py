"""Streams at every stage on one server, and what comes back as a short text."""

from __future__ import annotations

import itertools
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from tests.attack.raw import DOMAIN, RawClient, condition
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import Item, StreamEnd, StreamHeader

if TYPE_CHECKING:
    from tests.attack.servers import Attacked

#: Silence after which a stream counts as kept: behind an answer, and before a first one; in a session all is answered.
QUIET, ANSWER, PATIENCE = 0.6, 3.0, 6.0
_LAST = "the-last"
_PING = f"<iq type='get' id='{_LAST}' to='{DOMAIN}'><ping xmlns='{ns.PING}'/></iq>"


class Arena:
    """One server, accounts that nobody has used yet, and the streams of one row."""

    def __init__(self, server: Attacked, users: Iterator[str]) -> None:
        self.server, self._users = server, users
        self._open: list[RawClient] = []

    def user(self) -> str:
        """An account of one's own."""
        return next(self._users)

    def keep(self, client: RawClient) -> RawClient:
        """This stream is dropped when the row is over."""
        self._open.append(client)
        return client

    def leave(self) -> None:
        """The row is over."""
        for client in self._open:
            client.close()
        self._open.clear()

    # -- stages ------------------------------------------------------------------------------

    def connection(self, secured: bool = True) -> RawClient:
        """A connection before its first header; over direct TLS if it is to be secured."""
        client = self.keep(RawClient(self.server.directPort if secured else self.server.port))
        if secured:
            client.wrap(self.server.ca)
        return client

    def plain(self) -> RawClient:
        """A stream before TLS."""
        return self.keep(self.server.plain())

    def stranger(self) -> RawClient:
        """A stream behind TLS, before authentication."""
        return self.keep(self.server.direct())

    def member(self, name: str = "", presence: bool = False) -> RawClient:
        """A bound stream."""
        client = self.keep(self.server.login(name or self.user()))
        if presence:
            client.available()
        return client

    # -- attempts ----------------------------------------------------------------------------

    def opening(self, data: str | bytes) -> str:
        """What these first bytes of a stream lead to."""
        client = self.connection()
        client.send(data)
        items = until(client, QUIET, first=ANSWER)
        header = next((item for item in items if isinstance(item, StreamHeader)), None)
        told = f"version {header.attrs.get('version', 'none')}, " if header else "no header, "
        return ("" if client.closed and header else told) + tell(items, client)

    def unbound(self, data: str | bytes, stage: Callable[[Arena], RawClient] | None = None) -> str:
        """What this leads to before authentication."""
        client = (stage or Arena.stranger)(self)
        client.send(data)
        return tell(until(client, QUIET, first=ANSWER), client)

    def bound(self, data: str | bytes, client: RawClient | None = None) -> str:
        """What this leads to in a session."""
        client = client or self.member()
        client.send(data)
        return tell(settle(client), client)


def until(client: RawClient, quiet: float, patience: float = PATIENCE, first: float = 0) -> list[Item]:
    """Everything up to the end of the connection, or up to so much silence behind the last item (or for a first)."""
    found: list[Item] = []
    end = time.monotonic() + patience
    while not client.closed and time.monotonic() < end:
        try:
            item = client.next(quiet if found or not first else max(first, quiet))
        except AssertionError:
            break
        if item is not None:
            found.append(item)
    found += client.items
    client.items.clear()
    return found


def settle(client: RawClient) -> list[Item]:
    """Everything up to the answer to a ping that is sent now, or up to the end."""
    found = until(client, 0.15)
    if client.closed:
        return found
    client.send(_PING)
    end = time.monotonic() + PATIENCE
    while not client.closed and time.monotonic() < end:
        try:
            item = client.next(max(0.1, end - time.monotonic()))
        except AssertionError:
            return [*found, Element("", "no answer any more")]
        if isinstance(item, Element) and item.get("id") == _LAST:
            break
        if item is not None:
            found.append(item)
    return found


def tell(items: list[Item], client: RawClient) -> str:
    """The items in a few words, and whether the connection is still there."""
    words = [word for word in (_word(item) for item in items) if word]
    grouped = [(word, len(list(same))) for word, same in itertools.groupby(words)]
    said = [word if count == 1 else f"{count} × {word}" for word, count in grouped]
    return ", ".join([*said, "closed" if client.closed else "kept"])


def _word(item: Item) -> str:
    if isinstance(item, (StreamHeader, StreamEnd)) or not isinstance(item, Element):
        return ""
    if (item.ns, item.name) == (ns.STREAM, "error"):
        return "/".join(child.name for child in item.elements() if child.name != "text")
    if item.name == "failure":
        return f"failure: {condition(item)}" if item.elements() else "failure"
    if item.get("type") == "error":
        return f"error: {_condition(item)}"
    return "result" if item.get("type") == "result" else item.name


def _condition(stanza: Element) -> str:
    error = stanza.find(ns.CLIENT, "error")
    found = [child.name for child in error.elements() if child.ns == ns.STANZA_ERRORS] if error else []
    return next((name for name in found if name != "text"), "none")


def handshake(client: RawClient, context: ssl.SSLContext) -> str:
    """The protocol that a handshake ends with, or that it fails."""
    try:
        client.wrap(None, context=context)
    except (ssl.SSLError, OSError):
        return "refused"
    with closing(client):
        return str(client.socket.version())
