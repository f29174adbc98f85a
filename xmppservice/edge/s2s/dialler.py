"""Connecting to a target: IPv6 and IPv4 raced (RFC 8305, "Happy Eyeballs").

Both kinds of address are asked for at once. The race begins when both answers are there, or 50 ms after the first that
has addresses. Each quarter of a second, or when a try has failed, the next address is tried beside those that are still
trying, the families taking turns, IPv6 first; the first connection wins. What is connected to are the very addresses
that were checked against the refused networks, so a name cannot change its mind in between (S10).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import NoRouteError, TCPTimedOutError, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from xmppservice.edge.s2s.networks import Network, refuses
from xmppservice.edge.s2s.questions import AAAA, A, Answer, INames, LookupFailed
from xmppservice.edge.s2s.targets import Target, isAddress

MAX_ADDRESSES: Final = 8
STAGGER: Final = 0.25
"""RFC 8305 5: the Connection Attempt Delay."""
RESOLUTION_DELAY: Final = 0.05
"""RFC 8305 3: how long addresses of one family wait for those of the other."""


class DialFailed(Exception):
    """No connection; the text says why, for people. `reasons` has one text for each address, or one for the name."""

    def __init__(self, target: Target, reasons: Iterable[str]) -> None:
        self.target = target
        self.reasons = tuple(dict.fromkeys(reasons))
        super().__init__("; ".join(self.reasons))


class Dialler:
    """Connects; `timeout` bounds the whole of one dial, `attempt` the try of one address."""

    def __init__(
        self,
        reactor: Any,
        resolver: INames,
        refused: Iterable[Network] = (),
        timeout: float = 30.0,
        attempt: float = 10.0,
    ) -> None:
        self.reactor = reactor
        self.resolver = resolver
        self.refused = tuple(refused)
        self.timeout = timeout
        self.attempt = attempt

    def dial(self, target: Target, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to a target; gives the connected protocol, or fails with `DialFailed`. May be cancelled."""
        return _Race(self, target, factory).result


class _Race:
    def __init__(self, dialler: Dialler, target: Target, factory: IProtocolFactory) -> None:
        self.result: Deferred[IProtocol] = Deferred(lambda _: self._end())
        self._dialler = dialler
        self._reactor = dialler.reactor
        self._target = target
        self._factory = factory
        # Addresses still to be tried, by family, IPv6 first.
        self._left: dict[int, list[str]] = {AAAA: [], A: []}
        self._last = A
        self._tried = 0
        self._tries: set[Deferred[Any]] = set()
        self._lookups: dict[int, Deferred[Any]] = {}
        self._reasons: list[str] = []
        self._over = False
        self._next: IDelayedCall | None = None
        self._deadline: IDelayedCall = self._reactor.callLater(dialler.timeout, self._expire)
        self._resolve()

    def _resolve(self) -> None:
        host = self._target.host
        if isAddress(host):
            self._add(AAAA if ":" in host else A, [host])
            self._advance()
            return
        self._lookups = {kind: self._dialler.resolver.ask(host, kind) for kind in (AAAA, A)}
        for kind, lookup in tuple(self._lookups.items()):
            lookup.addCallbacks(self._resolved, self._unresolved, callbackArgs=(kind,), errbackArgs=(kind,))

    def _resolved(self, answer: Answer, kind: int) -> None:
        del self._lookups[kind]
        if not self._over:
            family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
            self._add(kind, [socket.inet_ntop(family, record.address) for record in answer.records])
            self._whenResolved()

    def _unresolved(self, failure: Failure, kind: int) -> None:
        del self._lookups[kind]
        if not self._over:
            self._reasons.append(failure.getErrorMessage() if failure.check(LookupFailed) else "the lookup broke")
            self._whenResolved()

    def _whenResolved(self) -> None:
        if self._lookups:
            if any(self._left.values()):
                self._again(RESOLUTION_DELAY)
        elif not self._tries or self._next is None:
            # Else the race is on, and has a turn for what has come.
            self._advance()

    def _add(self, kind: int, addresses: list[str]) -> None:
        for address in addresses[:MAX_ADDRESSES]:
            if not self._target.chosen and refuses(self._dialler.refused, address):
                self._reasons.append(f"{address} is in a network that federation refuses")
            else:
                self._left[kind].append(address)

    def _advance(self) -> None:
        """Try the next address, or find that there is none."""
        self._cancelTurn()
        kind = AAAA if self._last == A else A
        if not self._left[kind]:
            kind = self._last
        if not self._left[kind] or self._tried >= MAX_ADDRESSES:
            if not self._tries and not self._lookups:
                self._fail()
            return
        self._last = kind
        self._try(kind, self._left[kind].pop(0))

    def _try(self, kind: int, address: str) -> None:
        self._tried += 1
        endpoint = TCP6ClientEndpoint if kind == AAAA else TCP4ClientEndpoint
        attempt = endpoint(self._reactor, address, self._target.port, timeout=self._dialler.attempt)
        # Before connecting: that may fail at once, and then goes on by itself.
        self._again(STAGGER)
        connecting = attempt.connect(self._factory)
        self._tries.add(connecting)
        connecting.addCallbacks(
            self._connected, self._refused, callbackArgs=(connecting,), errbackArgs=(connecting, address)
        )

    def _connected(self, protocol: Any, connecting: Deferred[Any]) -> None:
        self._tries.discard(connecting)
        if self._over:
            protocol.transport.abortConnection()
            return
        self._end()
        self.result.callback(protocol)

    def _refused(self, failure: Failure, connecting: Deferred[Any], address: str) -> None:
        self._tries.discard(connecting)
        if not self._over:
            self._reasons.append(_reason(failure, f"{address} port {self._target.port}"))
            self._advance()

    def _again(self, delay: float) -> None:
        if self._next is None:
            self._next = self._reactor.callLater(delay, self._turn)

    def _turn(self) -> None:
        self._next = None
        self._advance()

    def _cancelTurn(self) -> None:
        turn, self._next = self._next, None
        if turn is not None:
            turn.cancel()

    def _expire(self) -> None:
        self._reasons.append(f"timed out after {self._dialler.timeout:g} seconds")
        self._fail()

    def _fail(self) -> None:
        self._end()
        reasons = self._reasons or [f"{self._target.host} has no address"]
        self.result.errback(DialFailed(self._target, reasons))

    def _end(self) -> None:
        """Stop all that still goes on; what that reports is passed over."""
        self._over = True
        self._cancelTurn()
        if self._deadline.active():
            self._deadline.cancel()
        for pending in (*self._tries, *self._lookups.values()):
            pending.cancel()


def _reason(failure: Failure, where: str) -> str:
    if failure.check(Refused):
        return f"connection refused by {where}"
    if failure.check(TimeoutError, TCPTimedOutError, CancelledError):
        return f"timed out connecting to {where}"
    if failure.check(NoRouteError):
        return f"no route to {where}"
    text = next(iter(getattr(failure.value, "args", ())), "") or failure.getErrorMessage()
    return f"cannot connect to {where}: {text}"
