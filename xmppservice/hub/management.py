"""Stream management for sessions (XEP-0198): acknowledgements, hibernation, resumption.

Theory of operation. What we send is kept as bytes in `ResumeQueue` until the peer counts it.
One ``<r/>`` is under way at most: the first stanza after an acknowledgement carries the next
one, so a busy stream pays for one request per round trip. What we receive is counted in
`AckLedger`; the ``h`` that we tell never counts a stanza whose writes are not committed. A
request that cannot be answered in full is held until the commit, for a second at most.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred

from xmppservice.hub.acknowledge import ANSWER_DEADLINE, AckLedger, HeldAnswers, countOf, tooHigh
from xmppservice.hub.contracts.stream import ResumeFailed
from xmppservice.hub.unsettled import Unsettled
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream.resume import MODULUS, HandledCountTooHigh, ResumeQueue, parseCount
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.session import Session
    from xmppservice.hub.unsettled import Held

REQUEST = b"<r xmlns='urn:xmpp:sm:3'/>"


@attrs.frozen
class Resumption:
    """What a host allows: seconds of hibernation (0: no resumption) and how much a queue may hold."""

    seconds: int = 600
    maxBytes: int = 1 << 20
    maxStanzas: int = 2000
    sessions: int = 10


class Management:
    """The state of one session's stream management beside its queue and ledger."""

    __slots__ = ("held", "requested", "seconds", "told", "token")

    def __init__(self, token: str, seconds: int) -> None:
        self.token = token
        #: Seconds of hibernation granted; 0 means that the session cannot be resumed.
        self.seconds = seconds
        #: An ``<r/>`` of ours is under way.
        self.requested = False
        self.held = HeldAnswers()
        #: The last count told to the peer.
        self.told = 0


def receive(session: Session, element: Element) -> None:
    """A first-level element that is no stanza: an element of XEP-0198, or an error."""
    if element.ns != ns.SM:
        raise StreamError("unsupported-stanza-type")
    if element.name == "r" and session.management is not None:
        _request(session)
    elif element.name == "a" and session.management is not None:
        _acknowledge(session, element)
    elif element.name == "enable" and session.management is None:
        _enable(session, element)
    elif element.name in ("r", "a", "enable", "resume"):
        _send(session, _failed("unexpected-request"))
    else:
        raise StreamError("unsupported-stanza-type")


def _failed(condition: str) -> bytes:
    return serialize(Element(ns.SM, "failed", None, Element(ns.STANZA_ERRORS, condition)))


def _send(session: Session, data: bytes) -> None:
    if session.stream is not None:
        session.stream.send(data)


# -- enabling ------------------------------------------------------------------------------------


def _enable(session: Session, element: Element) -> None:
    """``<enable/>`` (section 3): from now on both sides count."""
    host = session.account.host
    policy: Resumption | None = host.resumption
    if policy is None:
        _send(session, _failed("service-unavailable"))
        return
    resumable = element.get("resume") in ("true", "1") and policy.seconds > 0
    wanted = parseCount(element.get("max"))
    seconds = min(policy.seconds, wanted or policy.seconds) if resumable else 0
    session.management = Management(f"{host.node}{secrets.token_urlsafe(18)}", seconds)
    session.queue = ResumeQueue(policy.maxBytes, policy.maxStanzas)
    session.ledger = AckLedger(host.store)
    answer = Element(ns.SM, "enabled")
    if resumable:
        host.resumables[session.management.token] = session
        answer.attrs.update(id=session.management.token, resume="true", max=str(seconds))
    _send(session, serialize(answer))


# -- acknowledging what we received ----------------------------------------------------------------


def _request(session: Session) -> None:
    """``<r/>``: answer when all that came before it is committed."""
    assert session.ledger is not None and session.management is not None
    host = session.account.host
    if session.management.held.hold(session.ledger, host.clock.seconds()):
        host.holdAnswer(session)
    else:
        _answer(session)


def _answer(session: Session) -> None:
    """Tell the peer how much is settled."""
    assert session.ledger is not None and session.management is not None
    count = session.ledger.settled()
    session.management.told = count
    _send(session, b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % (count % MODULUS))


def answerHeld(session: Session, now: float) -> bool:
    """After a commit, or once a while: True when nothing is held for this session any more."""
    state, ledger = session.management, session.ledger
    if session.ended or state is None or ledger is None:
        return True
    if state.held.due(ledger, now):
        _answer(session)
    return not state.held


def settled(session: Session) -> None:
    """A stanza that had waited for a handler is through."""
    if session.management is not None and session.management.held:
        answerHeld(session, session.account.host.clock.seconds())


def lastAcknowledgement(session: Session) -> None:
    """The stream is about to be closed in order: the peer learns what is committed (section 4)."""
    if session.management is not None:
        _answer(session)


# -- what the peer has received --------------------------------------------------------------------


def deliver(session: Session, data: bytes, message: Held | None) -> None:
    """Send a stanza and keep it until the peer counts it."""
    queue, state = session.queue, session.management
    assert queue is not None and state is not None
    queue.sent(data, message)
    stream = session.stream
    if queue.full:
        _overflow(session)
    elif stream is not None:
        if state.requested:
            stream.send(data)
        else:
            state.requested = True
            stream.send(data + REQUEST)


def _overflow(session: Session) -> None:
    """The peer does not acknowledge: it is taken for gone, its messages go elsewhere (D05)."""
    text = "too many unacknowledged stanzas"
    session.disconnect(StreamError("resource-constraint", text))


def _acknowledge(session: Session, element: Element) -> None:
    """``<a/>``: let go of what the peer has."""
    progress = _release(session, countOf(element))
    assert session.queue is not None and session.management is not None
    # Whoever answers without having handled anything is asked again with the next stanza, not at once.
    session.management.requested = progress and bool(session.queue)
    if session.management.requested:
        _send(session, REQUEST)


def _release(session: Session, h: int) -> bool:
    """Let go of what the peer has; False if that is nothing new."""
    assert session.queue is not None
    try:
        released = session.queue.acknowledge(h)
    except HandledCountTooHigh as error:
        raise tooHigh(error) from None
    account = session.account
    for _, message in released:
        if message is not None:
            message.taken(account)
    return bool(released)


def probe(session: Session) -> None:
    """Ask a silent peer for a sign of life: ``<r/>``, or a ping where that is not spoken."""
    if session.management is not None:
        _send(session, REQUEST)
        return
    host, jid = session.account.host, session.jid
    ping = Element(ns.CLIENT, "iq", {"type": "get", "id": f"ping-{secrets.token_hex(4)}"}, Element(ns.PING, "ping"))
    ping.attrs.update({"from": host.name, "to": jid.full})
    _send(session, serialize(ping))


# -- when the stream is gone -----------------------------------------------------------------------


def hibernate(session: Session) -> bool:
    """The stream broke: keep the session for its time if it may be resumed (section 5)."""
    state = session.management
    host = session.account.host
    if state is None or not state.seconds or host.stopping:
        return False
    sleeping = [s for s in session.account.sessions.values() if s.stream is None and s is not session]
    policy = host.resumption
    if policy is None:
        return False
    while len(sleeping) >= policy.sessions:
        sleeping.pop(0).end()
    state.requested = False
    session.hibernation = host.clock.callLater(state.seconds, session.end)
    _recall(session)
    return True


def _recall(session: Session) -> None:
    """What was sent before ``<enable/>`` and is not in the kernel is in no queue: it has to be sent again."""
    unflushed, session.unflushed = session.unflushed, None
    session.account.redeliver(_lost(session.account, unflushed or ()))


def _lost(account: Account, entries: Iterable[Held | None]) -> list[Unsettled]:
    """Tell the entries that their session has lost them; returns the messages that must go elsewhere."""
    lost = [entry.lost(account) for entry in entries if entry is not None]
    return [message for message in lost if message is not None]


def passOn(session: Session, unflushed: Iterable[Held]) -> None:
    """The session has ended: what its peer has not taken goes to others (section 6)."""
    queue, state = session.queue, session.management
    if state is not None:
        session.account.host.forget(state.token, session)
    entries = [*unflushed, *([] if queue is None else [entry for _, entry in queue.unacknowledged])]
    session.queue = None
    session.account.redeliver(_lost(session.account, entries))


def resume(account: Account, stream: IStream, previd: str, h: int) -> Deferred[Session]:
    """``<resume/>`` on a new stream (section 5): the session moves over.

    Fires with the session once its former stream's stanzas are settled, for a second at most;
    fails with `ResumeFailed`, or with `StreamError` for a count that is too high.
    """
    host = account.host
    session: Session | None = host.resumables.get(previd)
    result: Deferred[Session] = Deferred()
    if session is None or session.account is not account or session.ended:
        result.errback(ResumeFailed("item-not-found", host.formerCount(previd, account.jid.bare)))
        return result
    former, session.stream = session.stream, None
    if former is not None:
        former.fail(StreamError("conflict", "resumed on another stream"))
    if session.hibernation is not None:
        session.hibernation.cancel()
        session.hibernation = None
    host.whenSettled(session, ANSWER_DEADLINE).addCallback(_resumed, session, stream, h).chainDeferred(result)
    return result


def _resumed(_: object, session: Session, stream: IStream, h: int) -> Session:
    """Take the peer's count, greet the new stream and send again what it has not seen."""
    state, queue, ledger = session.management, session.queue, session.ledger
    if session.ended or state is None or queue is None or ledger is None:
        # It ended while this stream waited.
        account, token = session.account, "" if state is None else state.token
        raise ResumeFailed("item-not-found", account.host.formerCount(token, account.jid.bare))
    try:
        _release(session, h)
    except StreamError:
        session.end()
        raise
    if session.stream is not None:
        # Another stream resumed it while this one waited.
        session.stream.fail(StreamError("conflict", "resumed on another stream"))
    session.stream = stream
    count = ledger.settled()
    ledger.restart(count)
    # An answer that the former stream waited for is given by the greeting.
    state.held.clear()
    greeting = Element(ns.SM, "resumed", {"previd": state.token, "h": str(count % MODULUS)})
    parts: Iterable[bytes] = [serialize(greeting), *(data for data, _ in queue.unacknowledged)]
    state.requested = bool(queue)
    stream.send(b"".join(parts) + (REQUEST if queue else b""))
    return session
