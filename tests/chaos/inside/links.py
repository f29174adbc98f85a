"""Sabotage of the links to other servers and to components; each function breaks one promise of this process."""

from __future__ import annotations

from typing import Any


def forget() -> None:
    """What another server has not acknowledged when a stream ends counts as delivered."""
    from xmppservice.hub.federation import managing

    def remainder(link: Any) -> list[Any]:
        queue, link.queue = link.queue, None
        if queue is not None:
            managing._finish(queue.unacknowledged)
        return []

    managing.remainder = remainder
    managing.suspend = lambda link: None


def park() -> None:
    """What another server has not acknowledged when a stream ends is kept for ever."""
    from xmppservice.hub.federation.domains import Federation

    left = Federation.left

    def leftBehind(self: Federation, link: Any, parcels: Any) -> None:
        left(self, link, [])

    Federation.left = leftBehind  # type: ignore[method-assign]


def hurry(dial: bool = True) -> None:
    """No sabotage: what other servers have time for is a tenth of what it was, so that tests are short; name servers
    have a bit more, and connecting too if `dial` is false."""
    from xmppservice.edge.s2s import dialler, outgoing, resolving
    from xmppservice.hub.federation import policy

    limits = resolving.ResolverLimits
    resolving.ResolverLimits = lambda: limits(total=4.0, rounds=(1.0, 2.0))  # type: ignore[assignment,misc]
    outgoing.ALL_IN_ALL /= 10
    outgoing.ONE_TARGET /= 10
    if dial:
        init = dialler.Dialler.__init__
        assert init.__defaults__ is not None
        init.__defaults__ = (*init.__defaults__[:-2], *(each / 10 for each in init.__defaults__[-2:]))

    class Impatient(policy.FederationPolicy):
        """Answers are due sooner."""

        def __init__(self, *rest: Any, **more: Any) -> None:
            super().__init__(*rest, **{**more, "answerTime": 3.0})

    from xmppservice.server import edges

    edges.FederationPolicy = Impatient  # type: ignore[misc]


def endless() -> None:
    """Nothing that waits for another server ever comes back, whatever there is of it."""
    from xmppservice.hub.federation.route import Route

    Route.admit = lambda self, *rest: None  # type: ignore[method-assign]
    Route.bounce = lambda self: None  # type: ignore[method-assign]


def eager() -> None:
    """Attempts follow one another without a pause."""
    from xmppservice.hub.federation import route

    route.FIRST_PAUSE = 0.001


def one() -> None:
    """The next address is tried when the one before has failed, and not earlier."""
    from xmppservice.edge.s2s import dialler

    dialler.STAGGER = 3600.0  # type: ignore[misc]


def swallow() -> None:
    """What a component has not got when it goes counts as delivered."""
    from xmppservice.hub.component import ComponentLink

    end = ComponentLink.end

    def endSilently(self: ComponentLink) -> None:
        for transit in self._unsent.takeBack():
            transit.finish()
        end(self)

    ComponentLink.end = endSilently  # type: ignore[method-assign]
