"""`Federation`: where everything for other domains goes, and everything that is known of other servers.

`route` is what the router calls. The rest is between links and routes: which stream can be used for which pair of
domains, who may ask whom about a proof, and what becomes of stanzas whose stream has gone.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from xmppservice.hub import presence
from xmppservice.hub.account import stanzaBytes
from xmppservice.hub.contracts.federation import Unreachable
from xmppservice.hub.federation import managing, proofs
from xmppservice.hub.federation.policy import FederationPolicy
from xmppservice.hub.federation.route import Parcel, Route, giveBack
from xmppservice.hub.federation.tally import Tally
from xmppservice.protocol.dialback import Dialback, Pair
from xmppservice.protocol.errors import StanzaError, StreamError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from xmppservice.hub.contracts.clock import IClock
    from xmppservice.hub.contracts.federation import IConnector
    from xmppservice.hub.contracts.storage import IStore
    from xmppservice.hub.federation.link import ServerLink
    from xmppservice.hub.router import Router
    from xmppservice.hub.transit import Transit

log = Logger()

#: Streams of other servers that may be resumed, and failures that are remembered for the operator.
HIBERNATING_LIMIT = 1000
REMEMBERED = 1000

#: How many such streams one other server may have, so that it does not push out those of all others.
HIBERNATING_EACH = 10

#: How many routes there may be before those that are idle are looked for.
SWEEP_AT = 1000

_HELD_LOOK = 0.25
_SETTLE_LOOK = 0.05


class Federation:
    """All traffic with other servers. `secret` makes our keys of dialback."""

    secret: bytes = b""
    connector: IConnector

    def __init__(self, router: Router, store: IStore, clock: IClock, policy: FederationPolicy) -> None:
        self.router = router
        self.store = store
        self.clock = clock
        self.policy = policy
        #: Whether XEP-0198 is used.
        self.management = True
        self.routes: dict[Pair, Route] = {}
        self.links: set[ServerLink] = set()
        self.waitingBytes = 0
        self._sweepAt = SWEEP_AT
        self.attempting = self.proving = 0
        #: Of the routes that wait for a stream, how many each sender has begun.
        self.starters: Counter[str] = Counter()
        #: Of the proofs under way, how many each network has.
        self.provers: Counter[str] = Counter()
        self.stopping = False
        #: Pair → why it failed last and when, for the operator.
        self.failures: OrderedDict[Pair, tuple[str, float]] = OrderedDict()
        self.tally = Tally()
        self._hibernating: OrderedDict[str, tuple[ServerLink, IDelayedCall]] = OrderedDict()
        self._held: set[ServerLink] = set()
        self._looking = False
        self._unsubscribe = store.onCommit(self._committed)

    # -- stanzas -----------------------------------------------------------------------------------

    def route(self, transit: Transit) -> None:
        """Send a stanza to another server, or have it wait; raises `StanzaError` for what cannot even wait."""
        pair = (transit.sender.domain, transit.to.domain)
        route = self.routes.get(pair)
        if route is None:
            route = self._open(pair)
        data = stanzaBytes(transit)
        link = route.link
        if link is None:
            route.admit(transit.sender.bare, len(data))
        if transit.kind == "message":
            transit.park()
        if link is None:
            route.keep(data, transit)
        else:
            link.carry(data, transit)

    def _open(self, pair: Pair) -> Route:
        """A new route, for a pair that may have one."""
        error = StanzaError("remote-server-not-found") if self.stopping else self._refusal(pair)
        if error is not None:
            raise error
        return self.routeFor(*pair)

    def _refusal(self, pair: Pair) -> StanzaError | None:
        """Why nothing goes from a domain of ours to another one, if so."""
        local, remote = pair
        if not self.isOurs(local) or self.isOurs(remote):
            return StanzaError("remote-server-not-found")
        if not self.policy.allows(remote):
            return StanzaError("remote-server-not-found", text=f"this server does not talk to {remote}")
        return None

    def routeFor(self, local: str, remote: str) -> Route:
        """The route of a pair, ours first."""
        route = self.routes.get((local, remote))
        if route is None:
            if len(self.routes) >= self._sweepAt:
                self._sweep()
            route = self.routes[(local, remote)] = Route(self, local, remote)
        return route

    def forgetIdle(self, route: Route) -> None:
        """Forget a route from which nothing would be lost."""
        if route.idle:
            self.routes.pop((route.local, route.remote), None)

    def _sweep(self) -> None:
        """There are many routes: forget those that are idle."""
        for route in list(self.routes.values()):
            self.forgetIdle(route)
        self._sweepAt = max(SWEEP_AT, 2 * len(self.routes))

    def isOurs(self, domain: str) -> bool:
        """Whether a domain is served here."""
        return domain in self.router.destinations

    # -- streams that we open ------------------------------------------------------------------------

    def obtain(self, local: str, remote: str) -> Deferred[ServerLink]:
        """A stream to a server: one that is there and can take another pair, else a new one."""
        for link in self.links:
            if link.outgoing and link.remote == remote and (link.dialback or (local, remote) in link.carries):
                return succeed(link)
        return self.open(local, remote)

    def open(self, local: str, remote: str) -> Deferred[ServerLink]:
        """A new stream to a server."""
        if self.attempting >= self.policy.attempts:
            return fail(Unreachable("too many servers are being tried at the same time"))
        self.attempting += 1

        def done(result: ServerLink) -> ServerLink:
            self.attempting -= 1
            return result

        return self.connector.connect(local, remote).addBoth(done)

    def verify(self, local: str, remote: str, id: str, key: str) -> Deferred[str]:
        """Ask a server, over a stream of our own, whether a key is its own; fires with "valid" or "invalid"."""
        route = self.routeFor(local, remote)
        return route.stream().addCallback(proofs.verify, local, remote, id, key)

    def failed(self, route: Route, error: Unreachable) -> None:
        """An attempt has come to nothing."""
        if self.stopping:
            return
        self._remember((route.local, route.remote), error.reason)
        self.tally.failed(error.condition)
        log.info("{local} cannot reach {remote}: {reason}",
                 local=route.local, remote=route.remote, reason=error.reason)  # fmt: skip

    def _remember(self, pair: Pair, reason: str) -> None:
        self.failures[pair] = (reason, self.clock.now())
        self.failures.move_to_end(pair)
        while len(self.failures) > REMEMBERED:
            self.failures.popitem(last=False)

    # -- what links tell -----------------------------------------------------------------------------

    def joined(self, link: ServerLink) -> None:
        """A stream has been negotiated."""
        self.links.add(link)

    def authenticated(self, link: ServerLink, sender: str, target: str, how: str) -> None:
        """A pair of another server was proved."""
        self.failures.pop((sender, target), None)
        self.tally.proved("in", how)
        route = self.routes.get((target, sender))
        if route is not None:
            route.revive(start=not link.bidi)
        log.info("{sender} may send to {target}: {how}, from {address}",
                 sender=sender, target=target, how=how, address=_addressOf(link))  # fmt: skip

    def accepted(self, local: str, remote: str, how: str) -> None:
        """Another server has accepted a pair of ours."""
        self.failures.pop((local, remote), None)
        route = self.routes.get((local, remote))
        if route is not None:
            route.revive(start=True)
        self.tally.proved("out", how)

    def refused(self, link: ServerLink, asked: Dialback, reason: str) -> None:
        """A pair of another server was not proved."""
        self.tally.refused += 1
        self._remember((asked.sender, asked.target), reason)
        log.warn("{sender} may not send to {target}: {reason}, from {address}",
                 sender=asked.sender, target=asked.target, reason=reason, address=_addressOf(link))  # fmt: skip

    def denied(self, domain: str, address: str) -> None:
        """A server called that we do not talk to."""
        reason = "s2s.allow or s2s.deny does not want it"
        self._remember((domain, next(iter(self.router.hosts), "")), reason)
        log.info("{domain} was turned away: {reason}, from {address}", domain=domain, reason=reason, address=address)

    def left(self, link: ServerLink, parcels: Iterable[Parcel]) -> None:
        """A stream has gone; what was not taken goes back into the queues, or to its senders."""
        self.links.discard(link)
        self.tally.left(link)
        self._held.discard(link)
        for pair, mine in _byPair(parcels).items():
            stopping = StanzaError("remote-server-timeout", text="the server stops") if self.stopping else None
            error = stopping or self._refusal(pair)
            if error is None:
                self.routeFor(*pair).putBack(mine)
            else:
                for _, transit in mine:
                    giveBack(transit, error)
        for pair in link.carries:
            route = self.routes.get(pair)
            if route is not None:
                route.lost(link)

    # -- streams of others that may be resumed -----------------------------------------------------------

    def hibernate(self, link: ServerLink, token: str) -> None:
        """A stream broke whose server may come back: remember its count."""
        same = [other for other, (former, _) in self._hibernating.items() if former.remote == link.remote]
        for other in same[: -HIBERNATING_EACH + 1]:
            self._hibernating.pop(other)[1].cancel()
        timer = self.clock.callLater(self.policy.resumption, self._hibernating.pop, token, None)
        self._hibernating[token] = (link, timer)
        while len(self._hibernating) > HIBERNATING_LIMIT:
            self._hibernating.popitem(last=False)[1][1].cancel()

    def wake(self, token: str, heir: ServerLink) -> ServerLink | None:
        """The former link of a token, if its heir may send for every pair of it."""
        for link in list(self.links):
            # The server has noticed the break before us.
            if link.managed is not None and link.managed.token == token and not link.outgoing and link is not heir:
                if not link.accepts.keys() <= heir.accepts.keys():
                    return None
                link.disconnect()
                return link
        former, timer = self._hibernating.get(token, (None, None))
        if former is None or timer is None or not former.accepts.keys() <= heir.accepts.keys():
            return None
        del self._hibernating[token]
        timer.cancel()
        return former

    # -- acknowledgements that wait for commits ------------------------------------------------------------

    def holdAnswer(self, link: ServerLink) -> None:
        """The link owes the other server an ``<a/>`` that must wait."""
        self._held.add(link)
        self._lookSoon()

    def _lookSoon(self) -> None:
        if not self._looking:
            self._looking = True
            self.clock.callLater(_HELD_LOOK, self._look)

    def _look(self) -> None:
        self._looking = False
        self._committed(self.store.committed)
        if self._held:
            self._lookSoon()

    def _committed(self, committed: int) -> None:
        if self._held:
            now = self.clock.seconds()
            self._held = {link for link in self._held if not managing.answerHeld(link, now)}

    # -- the end -----------------------------------------------------------------------------------------

    def use(self, policy: FederationPolicy) -> None:
        """Another policy, or other domains of ours: those whom it does not allow are let go, and those who are us."""
        self.policy = policy
        for pair in [pair for pair in self.routes if self._refusal(pair) is not None]:
            error = Unreachable(f"this server does not talk to {pair[1]}", "remote-server-not-found")
            self.routes.pop(pair).stop(error)
        for link in [link for link in self.links if policy.certificates and not link.certified]:
            link.reason = "a certificate is wanted now"
            link.disconnect()
        self.failures.clear()
        for route in list(self.routes.values()):
            route.revive(start=True)
            self.forgetIdle(route)
        for link in list(self.links):
            domains = {pair[0] for pair in link.accepts} | {pair[1] for pair in link.carries}
            if any(self.isOurs(domain) or not policy.allows(domain) for domain in domains):
                link.disconnect()

    def dropLocal(self, domain: str) -> None:
        """A domain is ours no more: what concerns it ends."""
        for link in list(self.links):
            if domain in {pair[1] for pair in link.accepts} | {pair[0] for pair in link.carries}:
                link.disconnect()
        for pair in [pair for pair in self.routes if pair[0] == domain]:
            self.routes.pop(pair).stop(Unreachable(f"{domain} is not served here any more"))

    def settle(self, seconds: float) -> Deferred[None]:
        """The server is about to stop: nothing new goes out, and what is under way has so long to be acknowledged."""
        self._sayGoodbye()
        self.stopping = True
        until, settled = self.clock.seconds() + seconds, Deferred[None]()
        for link in self.links:
            managing.probe(link)

        def look() -> None:
            if self.clock.seconds() >= until or not any(link.pending for link in self.links):
                settled.callback(None)
            else:
                self.clock.callLater(_SETTLE_LOOK, look)

        look()
        return settled

    def _sayGoodbye(self) -> None:
        """Users of other servers learn that ours are gone, as far as a stream is up."""
        for name, host in self.router.hosts.items():
            reached = {remote for (local, remote), route in self.routes.items() if local == name and route.link}
            for session in host.sessions() if reached else ():
                presence.leave(session, reached.__contains__)

    def stop(self) -> None:
        """The server stops: what waits goes back to its senders."""
        self.stopping = True
        routes, self.routes = list(self.routes.values()), {}
        for route in routes:
            route.stop(Unreachable("the server stops"))
        for link in list(self.links):
            link.disconnect(StreamError("system-shutdown"))
        for _, timer in self._hibernating.values():
            timer.cancel()
        self._hibernating.clear()
        self._unsubscribe()


def _byPair(parcels: Iterable[Parcel]) -> dict[Pair, list[Parcel]]:
    found: dict[Pair, list[Parcel]] = {}
    for data, transit in parcels:
        found.setdefault((transit.sender.domain, transit.to.domain), []).append((data, transit))
    return found


def _addressOf(link: ServerLink) -> str:
    return link.stream.peer if link.stream is not None else "nowhere"
