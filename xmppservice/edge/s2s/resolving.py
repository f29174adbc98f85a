"""The resolver: questions to the configured name servers, or those of the system; bounded in time, number and memory.

A question goes to each name server in turn, with more patience in each round, for ten seconds at most; a server that
answers with an error is not asked again. Equal questions at the same time are asked once. Answers are kept for as long
as they say, between five seconds and an hour; that something does not exist for a minute at most (RFC 2308); that
nobody could tell for five seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from xmppservice.edge.s2s.exchange import Exchange
from xmppservice.edge.s2s.nameservers import ConfiguredServers, NameServer, SystemServers
from xmppservice.edge.s2s.questions import Answer, INames, LookupFailed, Question, canBeAsked

_LEAST, _MOST, _MOST_NOTHING, _FAILURE = 5.0, 3600.0, 60.0, 5.0

Key = tuple[str, int]
Result = Answer | str
"""An answer, or why there is none. (One exception for all who wait would gather the tracebacks of all.)"""


@attrs.frozen(kw_only=True)
class ResolverLimits:
    """Seconds and counts.

    `rounds`: how long each name server may take, by round. `records` bounds what all kept answers hold together.
    """

    total: float = 10.0
    rounds: tuple[float, ...] = (1.5, 3.0, 6.0)
    inFlight: int = 200
    waiting: int = 2000
    entries: int = 4000
    records: int = 20_000


class Servers(Protocol):
    """Where the names of servers, and what needs no question, come from."""

    trusted: bool

    def servers(self) -> Sequence[NameServer]:
        """Whom to ask, in this order."""

    def known(self, name: str, kind: int) -> Answer | None:
        """What is known without asking."""


def makeResolver(reactor: Any, addresses: Iterable[str] = ()) -> Resolver:
    """The resolver for configured addresses ("127.0.0.1:5353", "[::1]:53"); without any, for those of the system.

    Raises ValueError, which says what is wrong with an address.
    """
    addresses = tuple(addresses)
    return Resolver(reactor, ConfiguredServers(addresses) if addresses else SystemServers())


@implementer(INames)
class Resolver:
    """Asks, and remembers."""

    def __init__(self, reactor: Any, servers: Servers, limits: ResolverLimits | None = None) -> None:
        self._reactor = reactor
        self._servers = servers
        self._limits = limits or ResolverLimits()
        self._cache = _Cache(self._limits)
        self._lookups: dict[Key, _Lookup] = {}
        self._running = 0
        self._starting = False
        self._waiting: deque[_Lookup] = deque()

    def ask(self, name: str, kind: int) -> Deferred[Answer]:
        """See `INames`."""
        name = name.lower()
        known = self._servers.known(name, kind) if canBeAsked(name) else Answer((), False)
        if known is not None:
            return succeed(known)
        key = (name, kind)
        kept = self._cache.get(key, self._reactor.seconds())
        if kept is not None:
            return fail(LookupFailed(kept)) if isinstance(kept, str) else succeed(kept)
        lookup = self._lookups.get(key)
        if lookup is not None:
            return lookup.join()
        if len(self._waiting) >= self._limits.waiting:
            return fail(LookupFailed("too many names are being looked up"))
        lookup = self._lookups[key] = _Lookup(self, key)
        waiter = lookup.join()
        self._waiting.append(lookup)
        self._startWaiting()
        return waiter

    def forget(self) -> None:
        """Forget all answers, for instance because the configuration was read again."""
        self._cache.clear()

    def stop(self) -> None:
        """End all lookups; who waits for them is told."""
        self._starting = True
        for lookup in list(self._lookups.values()):
            lookup.finish("the server stops")
        self._starting = False

    def _startWaiting(self) -> None:
        # A lookup may end while it starts; then it is this loop that goes on, not one inside it.
        if self._starting:
            return
        self._starting = True
        try:
            while self._waiting and self._running < self._limits.inFlight:
                self._running += 1
                self._waiting.popleft().start(self._servers.servers())
        finally:
            self._starting = False

    def _finished(self, lookup: _Lookup, result: Result) -> Result:
        del self._lookups[lookup.key]
        if isinstance(result, Answer) and result.secure and not self._servers.trusted:
            result = attrs.evolve(result, secure=False)
        self._cache.put(lookup.key, result, self._reactor.seconds())
        if lookup.started:
            self._running -= 1
        else:
            self._waiting.remove(lookup)
        self._startWaiting()
        return result


class _Lookup:
    """One question, asked until somebody answers, and who waits for it."""

    def __init__(self, resolver: Resolver, key: Key) -> None:
        self.key = key
        self.started = False
        self._resolver = resolver
        self._waiters: dict[Deferred[Answer], None] = {}
        self._plan: list[tuple[NameServer, float]] = []
        self._useless: set[NameServer] = set()
        self._exchange: Deferred[Answer] | None = None
        self._reason = "name servers are asked for too much at once"
        self._deadline: IDelayedCall = resolver._reactor.callLater(resolver._limits.total, self._expire)

    def join(self) -> Deferred[Answer]:
        """Wait for the answer; to cancel means to wait no more, and does not bother the others who do."""
        waiter: Deferred[Answer] = Deferred(lambda it: self._waiters.pop(it, None))
        self._waiters[waiter] = None
        return waiter

    def start(self, servers: Sequence[NameServer]) -> None:
        """Begin to ask."""
        self.started = True
        self._reason = "there is no name server to ask"
        self._plan = [(server, patience) for patience in self._resolver._limits.rounds for server in servers]
        self._next()

    def _next(self) -> None:
        while self._plan and self._deadline.active():
            server, patience = self._plan.pop(0)
            if server not in self._useless:
                exchange = Exchange(self._resolver._reactor, server, Question(*self.key), patience)
                self._exchange = exchange.answer
                self._exchange.addCallbacks(self.finish, self._failed, errbackArgs=(server, exchange))
                return
        if self._deadline.active():
            self.finish(self._reason)

    def _failed(self, failure: Failure, server: NameServer, exchange: Exchange) -> None:
        if not self._deadline.active():
            return
        self._reason = failure.getErrorMessage()
        if not exchange.timedOut:
            self._useless.add(server)
        self._next()

    def _expire(self) -> None:
        self.finish(self._reason)

    def finish(self, result: Result) -> None:
        """The end: tell all who wait."""
        if self._deadline.active():
            self._deadline.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        result = self._resolver._finished(self, result)
        while self._waiters:
            # One may cancel another.
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if isinstance(result, Answer):
                waiter.callback(result)
            else:
                waiter.errback(LookupFailed(result))


class _Cache:
    """Answers, and when they end; the one longest unused goes first."""

    def __init__(self, limits: ResolverLimits) -> None:
        self._limits = limits
        self._entries: dict[Key, tuple[float, Result]] = {}
        self._records = 0

    def get(self, key: Key, now: float) -> Result | None:
        """What is kept and still holds."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        ends, result = entry
        if ends <= now:
            self._records -= _size(result)
            return None
        self._entries[key] = entry
        return result

    def put(self, key: Key, result: Result, now: float) -> None:
        """Keep an answer for as long as it holds."""
        old = self._entries.pop(key, None)
        if old is not None:
            self._records -= _size(old[1])
        self._entries[key] = now + _lifetime(result), result
        self._records += _size(result)
        while len(self._entries) > self._limits.entries or self._records > self._limits.records:
            _, oldest = self._entries.pop(next(iter(self._entries)))
            self._records -= _size(oldest)

    def clear(self) -> None:
        """Keep nothing."""
        self._entries.clear()
        self._records = 0


def _size(result: Result) -> int:
    return len(result.records) if isinstance(result, Answer) else 0


def _lifetime(result: Result) -> float:
    if isinstance(result, str):
        return _FAILURE
    return min(max(float(result.ttl), _LEAST), _MOST if result.records else _MOST_NOTHING)
