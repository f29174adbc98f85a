"""XEP-0198 between servers: so that a stream that breaks loses nothing.

Theory of operation. On a stream that we have opened we enable it as soon as the first pair is accepted, and keep what
we send until it is acknowledged. If the stream breaks, the queue of a stream that carried one pair becomes the
`Suspension` of its route, and the next stream resumes it; where that fails, and with several pairs, what was not
acknowledged is sent again, so a stanza may come twice but never not at all. On a stream that the other server has
opened we count what we have handled; a count is told when what it covers is committed, as to clients
(`hub.management`). Such a stream can be resumed unless it is used in both directions; then we send on it as soon as
the other server has enabled it, or does not want to.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from xmppservice.hub.acknowledge import AckLedger, HeldAnswers, countOf, tooHigh
from xmppservice.hub.federation import overdue
from xmppservice.hub.federation.route import Parcel, giveBack
from xmppservice.hub.management import REQUEST
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.stream.resume import MODULUS, HandledCountTooHigh, ResumeQueue, parseCount
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from xmppservice.hub.federation.link import ServerLink
    from xmppservice.hub.federation.route import Route
    from xmppservice.hub.transit import Transit


class Suspension:
    """What is left of a stream that we had opened: its token, and what was not acknowledged."""

    __slots__ = ("queue", "since", "token")

    def __init__(self, token: str, queue: ResumeQueue, since: float) -> None:
        self.token = token
        self.queue = queue
        self.since = since

    def parcels(self) -> list[Parcel]:
        """What the other server has not acknowledged."""
        return self.queue.unacknowledged


class Management:
    """The state of XEP-0198 on one link."""

    __slots__ = ("fullSince", "held", "holding", "offered", "requested", "resuming", "routes", "token")

    def __init__(self, offered: bool = False) -> None:
        #: Whether the other server offers it (on streams that we have opened).
        self.offered = offered
        self.token = ""
        #: An ``<r/>`` of ours is under way.
        self.requested = False
        #: Since when a stanza was refused because too much is unacknowledged, with no ``<a/>`` since; 0 if none was.
        self.fullSince = 0.0
        self.held = HeldAnswers()
        #: What is being resumed, and the routes that wait for that; the first of them is whose it was.
        #: On a stream of the other server's: whether routes wait for its <enable/>.
        self.resuming: Suspension | None = None
        self.holding = False
        self.routes: list[Route] = []


def _send(link: ServerLink, data: bytes) -> None:
    if link.stream is not None:
        link.stream.send(data)


def receive(link: ServerLink, element: Element) -> None:
    """An element of XEP-0198."""
    name = element.name
    if name == "r" and link.ledger is not None:
        _requested(link)
    elif name == "a" and link.queue is not None:
        _acknowledged(link, element)
    elif name in ("enable", "resume") and not link.outgoing:
        _offeredTo(link, element)
    elif name in ("enabled", "resumed", "failed") and link.managed is not None and link.outgoing:
        _ANSWERS[name](link, element)
    elif name in ("r", "a", "enable", "resume"):
        _send(link, _failure("unexpected-request"))
    else:
        raise StreamError("unsupported-stanza-type")


def _failure(condition: str, h: int | None = None) -> bytes:
    attributes = None if h is None else {"h": str(h % MODULUS)}
    return serialize(Element(ns.SM, "failed", attributes, Element(ns.STANZA_ERRORS, condition)))


# -- streams that we have opened -----------------------------------------------------------------------


def begin(link: ServerLink, route: Route) -> None:
    """A pair of a stream that we have opened may be used: enable or resume first, if it is the first pair."""
    state = link.managed
    if state is not None and state.resuming is not None:
        if route not in state.routes:
            state.routes.append(route)
        return
    suspension, route.suspension = route.suspension, None
    if state is None or not state.offered or link.queue is not None:
        if suspension is not None:
            # Nothing to resume here: it is sent as if it were new.
            route.putBack(suspension.parcels())
    elif suspension is None:
        _enable(link)
    else:
        state.resuming, state.routes = suspension, [route]
        route.resuming = True
        _send(link, serialize(Element(ns.SM, "resume", {"previd": suspension.token, "h": "0"})))
        link.federation.clock.callLater(link.federation.policy.answerTime, _expired, link, suspension)
        return
    route.use(link)


def _expired(link: ServerLink, suspension: Suspension) -> None:
    if link.managed is not None and link.managed.resuming is suspension:
        link.reason = "it does not answer <resume/>"
        link.disconnect(StreamError("connection-timeout"))


def _enable(link: ServerLink) -> None:
    policy = link.federation.policy
    link.queue = ResumeQueue(policy.unacknowledgedBytes, policy.unacknowledged)
    _send(link, serialize(Element(ns.SM, "enable", {"resume": "true"})))


def _enabled(link: ServerLink, element: Element) -> None:
    assert link.managed is not None
    if link.queue is None:
        return
    if link.bidi and link.ledger is None:
        # Not earlier: what came before it the other server does not count either (XEP-0198 section 4).
        link.ledger = AckLedger(link.store)
    if element.get("resume") in ("true", "1"):
        link.managed.token = (element.get("id") or "")[:4096]


def _resumed(link: ServerLink, element: Element) -> None:
    """The other server knows the former stream: the rest of its queue goes on."""
    suspension, routes = _concluded(link)
    if suspension is None or link.managed is None:
        raise StreamError("unsupported-stanza-type")
    link.queue, link.managed.token = suspension.queue, suspension.token
    _release(link, countOf(element))
    rest = link.queue.unacknowledged
    link.managed.requested = bool(rest)
    _send(link, b"".join([data for data, _ in rest]) + (REQUEST if rest else b""))
    if rest:
        overdue.watch(link)
    for route in routes:
        route.use(link)


def _failed(link: ServerLink, element: Element) -> None:
    """``<failed/>``: of a resumption, or of enabling."""
    suspension, routes = _concluded(link)
    if suspension is None:
        _giveUp(link)
        return
    h = parseCount(element.get("h"))
    if h is not None:
        try:
            _finish(suspension.queue.acknowledge(h))
        except HandledCountTooHigh:
            pass
    routes[0].putBack(suspension.parcels())
    _enable(link)
    for route in routes:
        route.use(link)


def _concluded(link: ServerLink) -> tuple[Suspension | None, list[Route]]:
    """The answer to ``<resume/>`` is there: what was asked, and who waits for it."""
    state = link.managed
    assert state is not None
    suspension, state.resuming = state.resuming, None
    routes, state.routes = state.routes, []
    for route in routes:
        route.resuming = False
    return suspension, routes


def _giveUp(link: ServerLink) -> None:
    """The other server does not count after all: what was sent is with the kernel, and that has to do."""
    queue, link.queue = link.queue, None
    if queue is not None:
        _finish(queue.unacknowledged)


_ANSWERS = {"enabled": _enabled, "resumed": _resumed, "failed": _failed}


def suspend(link: ServerLink) -> None:
    """A stream broke: if it may be resumed, keep what that needs."""
    state, federation = link.managed, link.federation
    if state is None or not state.token or federation.stopping:
        return
    if not link.outgoing:
        federation.hibernate(link, state.token)
    elif len(link.carries) == 1 and link.queue is not None and not link.bidi:
        route = federation.routeFor(*next(iter(link.carries)))
        if route.link is link and route.suspension is None:
            route.suspension = Suspension(state.token, link.queue, route.since)
            link.queue = None


def remainder(link: ServerLink) -> list[Parcel]:
    """What the other server has not acknowledged, when a link has ended and is not suspended."""
    queue, link.queue = link.queue, None
    parcels: list[Parcel] = [] if queue is None else queue.unacknowledged
    state = link.managed
    if state is not None and state.resuming is not None:
        suspension, _ = _concluded(link)
        parcels = [*(suspension.parcels() if suspension is not None else ()), *parcels]
    return parcels


# -- what the other server has received ------------------------------------------------------------------


def carry(link: ServerLink, data: bytes, transit: Transit) -> None:
    """Send a stanza and keep it until the other server counts it."""
    queue, state = link.queue, link.managed
    assert queue is not None and state is not None
    if queue.full:
        _tooMuch(link, state, transit)
        return
    queue.sent(data, transit)
    stream = link.stream
    if stream is not None:
        if state.requested:
            stream.send(data)
        else:
            state.requested = True
            stream.send(data + REQUEST)
            if link.watching is None:
                overdue.watch(link)


def _tooMuch(link: ServerLink, state: Management, transit: Transit) -> None:
    """The other server is slower than our users: they are told to wait, what is under way stays. Ending the stream
    would have it all sent again. Only a server that acknowledges nothing at all is given up."""
    now = link.federation.clock.seconds()
    if not state.fullSince:
        state.fullSince = now
    giveBack(transit, StanzaError("resource-constraint", text=f"too much waits for {link.remote} already"))
    if now - state.fullSince > link.federation.policy.answerTime and not link.ended:
        link.reason = "it does not acknowledge what it gets"
        link.disconnect(StreamError("resource-constraint", "too many unacknowledged stanzas"))
    elif not state.requested:
        # Its last answer covered nothing new, and no stanza will ask again.
        state.requested = True
        _send(link, REQUEST)


def _acknowledged(link: ServerLink, element: Element) -> None:
    """``<a/>``: let go of what the other server has."""
    progress = _release(link, countOf(element))
    assert link.queue is not None and link.managed is not None
    if progress:
        link.managed.fullSince = 0.0
    link.managed.requested = progress and bool(link.queue)
    if link.managed.requested:
        _send(link, REQUEST)


def _release(link: ServerLink, h: int) -> bool:
    assert link.queue is not None
    try:
        released = link.queue.acknowledge(h)
    except HandledCountTooHigh as error:
        raise tooHigh(error) from None
    link.taken += len(released)
    _finish(released)
    return bool(released)


def _finish(parcels: list[Parcel]) -> None:
    for _, transit in parcels:
        if transit.kind == "message":
            transit.finish()


def probe(link: ServerLink) -> bool:
    """Ask a silent server for a sign of life; whether it has to answer."""
    if link.queue is not None:
        _send(link, REQUEST)
        return True
    # White space shows a dead connection, if not a broken stream.
    _send(link, b" ")
    return False


# -- streams that the other server has opened --------------------------------------------------------------


def _offeredTo(link: ServerLink, element: Element) -> None:
    """``<enable/>`` or ``<resume/>``; only from somebody who has proved who it is (XEP-0198 section 3)."""
    if not link.accepts or link.ledger is not None or not link.federation.management:
        _send(link, _failure("unexpected-request"))
    elif element.name == "resume":
        _resume(link, element)
    else:
        _enableFor(link, element)


def _enableFor(link: ServerLink, element: Element) -> None:
    policy = link.federation.policy
    link.ledger = AckLedger(link.store)
    state = link.managed = link.managed or Management()
    answer = Element(ns.SM, "enabled")
    if link.carries:
        link.queue = ResumeQueue(policy.unacknowledgedBytes, policy.unacknowledged)
    elif element.get("resume") in ("true", "1") and policy.resumption:
        state.token = secrets.token_urlsafe(18)
        answer.attrs.update(id=state.token, resume="true", max=str(policy.resumption))
    _send(link, serialize(answer))
    link.letIn()


def _resume(link: ServerLink, element: Element) -> None:
    """A server comes back: it gets the count of its former stream if it may still send all that it might then."""
    token = element.get("previd") or ""
    former = link.federation.wake(token, link) if token else None
    if former is None or former.ledger is None:
        _send(link, _failure("item-not-found"))
        return
    count = former.ledger.settled()
    if link.carries:
        # It is for both directions now: the other server may enable it anew, and need not send again what we have.
        _send(link, _failure("item-not-found", count))
        return
    former.ledger.restart(count)
    link.ledger = former.ledger
    link.managed = Management()
    link.managed.token = token
    _send(link, serialize(Element(ns.SM, "resumed", {"previd": token, "h": str(count % MODULUS)})))


# -- acknowledging what we received ----------------------------------------------------------------------------


def _requested(link: ServerLink) -> None:
    """``<r/>``: answer when all that came before it is committed, or with what is after a second."""
    assert link.ledger is not None and link.managed is not None
    if link.managed.held.hold(link.ledger, link.federation.clock.seconds()):
        link.federation.holdAnswer(link)
    else:
        _answer(link)


def _answer(link: ServerLink) -> None:
    assert link.ledger is not None
    _send(link, b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % (link.ledger.settled() % MODULUS))


def answerHeld(link: ServerLink, now: float) -> bool:
    """After a commit, or once a while: True when nothing is held for this link any more."""
    state, ledger = link.managed, link.ledger
    if link.ended or state is None or ledger is None:
        return True
    if state.held.due(ledger, now):
        _answer(link)
    return not state.held


def settled(link: ServerLink) -> None:
    """A stanza that had waited for a handler is through."""
    if link.managed is not None and link.managed.held:
        answerHeld(link, link.federation.clock.seconds())


def lastAcknowledgement(link: ServerLink) -> None:
    """The stream is about to be closed in order: the other side learns what is committed."""
    if link.ledger is not None:
        _answer(link)
