"""What the tests of hub and modules share on top of `xmppservice.testing`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from xmppservice.hub.contracts.storage import IStore, StorageFull
from xmppservice.storage.store import BaseStore
from xmppservice.testing import MemoryClient, MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

#: What every host has by default and chat needs.
CHAT = ("roster", "offline", "blocking", "stanza_ids", "stream_management")

_ids: Iterator[int] = iter(range(1, 1 << 60))


def chat(client: MemoryClient, to: str, body: str, type: str = "chat") -> None:
    """Send a message with a body."""
    client.send(f"<message to='{to}' type='{type}' id='{body}'><body>{body}</body></message>")


def bodies(client: MemoryClient) -> list[str]:
    """The bodies of the messages that came, bounces excluded; takes everything."""
    found = []
    for stanza in client.take():
        body = stanza.find(ns.CLIENT, "body")
        if stanza.name == "message" and stanza.get("type") != "error" and body is not None:
            found.append(body.text)
    return found


def errors(client: MemoryClient) -> list[str]:
    """The conditions of the error stanzas that came; takes everything."""
    return [condition(stanza) for stanza in client.take() if stanza.get("type") == "error"]


def condition(stanza: Element) -> str:
    """The condition of an error stanza."""
    error = stanza.find(ns.CLIENT, "error")
    assert error is not None, f"not an error: {stanza!r}"
    return error.elements()[0].name


def ask(client: MemoryClient, payload: str, type: str = "get", to: str | None = None) -> Element:
    """Send an IQ request; returns the answer and leaves all else."""
    id = f"ask{next(_ids)}"
    target = "" if to is None else f" to='{to}'"
    client.send(f"<iq type='{type}' id='{id}'{target}>{payload}</iq>")
    for index, stanza in enumerate(client.received):
        if stanza.name == "iq" and stanza.get("id") == id:
            return client.received.pop(index)
    raise AssertionError(f"no answer; there is {client.received!r}")


def presences(client: MemoryClient) -> list[tuple[str, str]]:
    """(from, type) of the presence stanzas that came; takes everything."""
    return [
        (stanza.get("from") or "", stanza.get("type") or "") for stanza in client.take() if stanza.name == "presence"
    ]


def manage(client: MemoryClient, resume: bool = True) -> Element:
    """Turn stream management on; returns what the server answered."""
    wanted = " resume='true'" if resume else ""
    client.send(f"<enable xmlns='urn:xmpp:sm:3'{wanted}/>")
    return client.next("enabled")


def acknowledge(client: MemoryClient, h: int) -> None:
    """Tell the server how many stanzas have come."""
    client.send(f"<a xmlns='urn:xmpp:sm:3' h='{h}'/>")


@implementer(IStore)
class SlowStore:
    """A store that commits only when it is told to: stands for a disk that takes its time.

    Writes are executed on the store below at `commit`; with `full` set they fail like those of a
    full disk.
    """

    def __init__(self, store: BaseStore) -> None:
        self._store = store
        self._waiting: list[tuple[Callable[..., int], str, tuple[Any, ...], Any]] = []
        self.committed = self.last = store.committed
        self.full = False
        #: From so many waiting rows on it calls itself crowded.
        self.crowd = 1000
        self.instant = True
        self._listeners: list[Callable[[int], None]] = []
        self._deferreds: list[tuple[int, Deferred[None]]] = []

    @property
    def backlog(self) -> int:
        """See `IStore.backlog`."""
        return self.last - self.committed

    @property
    def crowded(self) -> bool:
        """See `IStore.crowded`."""
        return self.backlog > self.crowd

    def append(self, op: str, row: tuple[Any, ...], failed: Any = None) -> int:
        """See `IStore.append`."""
        return self._give(self._store.append, op, row, failed)

    def apply(self, op: str, args: tuple[Any, ...] = (), failed: Any = None) -> int:
        """See `IStore.apply`."""
        return self._give(self._store.apply, op, args, failed)

    def _give(self, write: Callable[..., int], op: str, values: tuple[Any, ...], failed: Any) -> int:
        self._waiting.append((write, op, values, failed))
        self.last += 1
        ticket = self.last
        if self.instant:
            self.commit()
        return ticket

    def commit(self) -> None:
        """Write all that waits, and tell it."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for write, op, values, failed in waiting:
                if self.full:
                    if failed is not None:
                        failed(StorageFull("no space left"))
                else:
                    write(op, values, failed)
                self.committed += 1
        for callback in tuple(self._listeners):
            callback(self.committed)
        due = [entry for entry in self._deferreds if entry[0] <= self.committed]
        self._deferreds = [entry for entry in self._deferreds if entry[0] > self.committed]
        for _, done in due:
            done.callback(None)

    def execute(self, op: str, args: tuple[Any, ...] = ()) -> Deferred[None]:
        """See `IStore.execute`."""
        return self.whenCommitted(self.apply(op, args))

    def retract(self, ticket: int) -> bool:
        """See `IStore.retract`."""
        return False

    def whenCommitted(self, ticket: int) -> Deferred[None]:
        """See `IStore.whenCommitted`."""
        done: Deferred[None] = Deferred()
        if ticket <= self.committed:
            done.callback(None)
        else:
            self._deferreds.append((ticket, done))
        return done

    def onCommit(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """See `IStore.onCommit`."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def read(self, op: str, args: tuple[Any, ...] = (), after: int = 0) -> Deferred[list[Any]]:
        """See `IStore.read`."""
        if after <= self.committed:
            return self._store.read(op, args)
        return self.whenCommitted(after).addCallback(lambda _: self._store.read(op, args))


class SlowServer(MemoryServer):
    """A `MemoryServer` on a `SlowStore`; `hold` stops its commits, `commit` makes them."""

    slow: SlowStore

    def _makeHost(self, domain: str, modules: Sequence[str]) -> Any:
        database = self.database
        if not hasattr(self, "slow"):
            self.slow = SlowStore(database.store)  # type: ignore[arg-type]
            database._provide(self.slow, self.clock.now)  # type: ignore[arg-type]
        return super()._makeHost(domain, modules)

    def hold(self) -> None:
        """From now on nothing is committed by itself."""
        self.slow.instant = False

    def commit(self) -> None:
        """Commit what waits."""
        self.slow.commit()
