"""`ServerLink`: one stream between us and another server, once it is negotiated.

Theory of operation. What a link may do is a matter of pairs of domains. `carries` are those that we may send on it, our
domain first: on a stream that we have opened, because the other server has accepted us (EXTERNAL, dialback); on one
that it has opened, because it wants both directions (XEP-0288) and has proved itself. `accepts` are those that we take
stanzas from, the foreign domain first, each with the host that looks at them. A stanza of any other pair ends the
stream.

What the server promises: a message that was acknowledged to its sender is in the kernel's hands, on its way to the
other server, or acknowledged by that server if it speaks XEP-0198. What is not when the stream breaks is sent again
over the next one, or goes back to its sender.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.hub.contracts.federation import Unreachable
from xmppservice.hub.contracts.stream import IClosingSession, IProbingSession
from xmppservice.hub.federation import managing, overdue, proofs
from xmppservice.hub.federation.route import giveBack
from xmppservice.hub.origin import Origin
from xmppservice.hub.transit import Transit
from xmppservice.hub.unflushed import Unflushed
from xmppservice.protocol.dialback import Pair
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.jid import JID, InvalidJID, prepareDomain
from xmppservice.protocol.stanza import STANZAS, checkIQ, errorFor, messageType, presenceType
from xmppservice.protocol.stream.outgoing import describe
from xmppservice.wire import ns

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from xmppservice.hub.contracts.federation import IIdentity
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.federation.domains import Federation
    from xmppservice.hub.federation.route import Parcel, Route
    from xmppservice.hub.host import VirtualHost
    from xmppservice.protocol.stream.resume import ResumeQueue
    from xmppservice.wire.element import Element

log = Logger()

_TYPES = {"message": messageType, "presence": presenceType}

#: How a pair was authenticated where that took a certificate.
CERTIFICATES = frozenset({"pkix", "posh", "dane"})

#: Looks at a silent stream (one each five minutes as we have it) that find no stanza, before it is closed.
IDLE_LOOKS = 3

#: Seconds after which we send on a stream of another server's that has not enabled XEP-0198.
ENABLE_TIME = 1.0


@implementer(IProbingSession, IClosingSession)
class ServerLink(Origin):
    """One stream between servers.

    `local` is the domain of ours that has opened it, "" if the other server has; `outgoing`: we have. `dialback`: pairs
    can be proved on it. `how` says for each pair, whichever the direction, how it was authenticated. `taken`: of what
    we have sent, how much the other server has acknowledged, or the kernel has taken. `dismissed`: the other server has
    ended it in so many words.
    """

    __slots__ = (
        "_looks", "_seen", "_unsent", "accepts", "asked", "bidi", "carries", "dialback", "dismissed", "federation",
        "how", "identity", "jid", "largest", "local", "managed", "outgoing", "proof", "queue", "questions", "reason",
        "received", "remote", "sent", "since", "taken", "watching",
    )  # fmt: skip

    def __init__(
        self, federation: Federation, stream: IStream, identity: IIdentity, remote: str, local: str = ""
    ) -> None:
        super().__init__(stream, federation.store)
        self.federation = federation
        self.identity = identity
        self.remote = remote
        self.jid = JID.of("", remote or "unknown.invalid")
        self.local = local
        self.outgoing = local != ""
        self.since = federation.clock.now()
        self.bidi = self.dialback = self.dismissed = False
        #: By which rules its certificate is valid for `remote`, on a stream that we have opened; "" if it is not.
        self.proof = ""
        self.carries: set[Pair] = set()
        self.accepts: dict[Pair, VirtualHost] = {}
        self.how: dict[Pair, str] = {}
        #: Proofs of ours that the other server has not answered yet, and what we asked it about those of others.
        self.asked: dict[Pair, Deferred[None]] = {}
        self.questions: dict[tuple[str, str, str], Deferred[str]] = {}
        self.queue: ResumeQueue | None = None
        self.managed: managing.Management | None = None
        self.sent = self.received = self.taken = 0
        #: Bytes of the largest stanza that the other server takes, as far as we know.
        self.largest = sys.maxsize
        self.watching: IDelayedCall | None = None
        self.reason = "the connection was lost"
        self._unsent: Unflushed[Parcel] = Unflushed(stream, self._took)
        self._looks = self._seen = 0
        federation.joined(self)

    # -- from the other server -------------------------------------------------------------------

    def receive(self, element: Element) -> None:
        """`ISession.receive`. Raises `StreamError` for what nobody may send here."""
        if element.ns != ns.CLIENT:
            self._control(element)
            return
        self.received += 1
        ledger = self.ledger
        if ledger is not None:
            ledger.handled += 1
        elif self.managed is not None:
            self.letIn()
        try:
            sender, to, home = self._addresses(element)
        except InvalidJID:
            self._malformed(element)
            return
        try:
            transit = self._transit(element, sender, to, home)
        except StanzaError as error:
            self._refuse(element, error, home)
            return
        self._take(transit)
        if ledger is not None and (transit.pending or transit.ticket > self.store.committed):
            if transit.pending:
                transit.finished = self._settled
            ledger.mark(transit)

    def _addresses(self, element: Element) -> tuple[JID, JID, VirtualHost]:
        """Both addresses are there, and of a pair that was proved (RFC 6120 8.1; hardening S04, S05)."""
        attrs = element.attrs
        if element.name not in STANZAS:
            raise StreamError("unsupported-stanza-type")
        try:
            sender, to = JID.parse(attrs["from"]), JID.parse(attrs["to"])
        except KeyError:
            raise _improper() from None
        home = self.accepts.get((sender.domain, to.domain))
        if home is None:
            raise self._foreign(sender.domain, to.domain)
        attrs["from"], attrs["to"] = sender.full, to.full
        return sender, to, home

    def _malformed(self, element: Element) -> None:
        """An address that is none ends the stream (4.9.3.7), but not if its domain is right: other servers have other
        rules for users (RFC 6122), and one of these shall not cost all others the stream that they share."""
        attrs = element.attrs
        pair = _domainOf(attrs["from"]), _domainOf(attrs["to"])
        home = self.accepts.get(pair)
        if home is None:
            raise _improper()
        try:
            JID.parse(attrs["from"])
        except InvalidJID:
            log.debug("a stanza whose sender has no address that is valid here, at {domain}", domain=pair[0])
            return
        reply = errorFor(element, StanzaError("jid-malformed"))
        if reply is not None:
            home.traffic.refused("jid-malformed")
            reply.attrs["from"] = pair[1]
            home.send(reply)

    def _foreign(self, sender: str, target: str) -> StreamError:
        """Which error a stanza of a pair gets that was not proved."""
        if not self.accepts:
            return StreamError("not-authorized")
        if not any(pair[0] == sender for pair in self.accepts):
            return StreamError("invalid-from")
        if not self.federation.isOurs(target):
            return StreamError("host-unknown")
        return StreamError("not-authorized", "this pair of domains was not authenticated")

    def _transit(self, element: Element, sender: JID, to: JID, home: VirtualHost) -> Transit:
        kind = element.name
        if kind == "iq":
            checkIQ(element)
            type = element.attrs["type"]
        else:
            type = _TYPES[kind](element)
        return Transit(element, kind, type, sender, to, self, home)

    def _dispatch(self, transit: Transit) -> None:
        try:
            self.federation.router.route(transit)
        except Exception:
            self._failed(transit)

    def _refuse(self, element: Element, error: StanzaError, home: VirtualHost) -> None:
        reply = errorFor(element, error)
        if reply is not None:
            home.traffic.refused(error.condition)
            home.send(reply)

    def _settled(self) -> None:
        managing.settled(self)

    def _control(self, element: Element) -> None:
        """A first-level element that is no stanza."""
        if element.ns == ns.DIALBACK:
            proofs.receive(self, element)
        elif element.ns == ns.SM:
            managing.receive(self, element)
        elif element.ns == ns.STREAM and element.name == "error":
            self.dismissed = True
            self.reason = f"it ended the stream: {describe(element)}"
        else:
            raise StreamError("unsupported-stanza-type")

    @property
    def certified(self) -> bool:
        """Whether the other server has shown a certificate for whatever it says or is told here."""
        if self.outgoing:
            return self.proof != ""
        return all(self.how[pair].rpartition(" ")[2] in CERTIFICATES for pair in self.accepts)

    def accept(self, sender: str, target: str, how: str) -> None:
        """From now on stanzas of this pair are taken, the foreign domain first; with XEP-0288 also sent."""
        self.accepts[(sender, target)] = self.federation.router.homeOf(target)
        self.how[(sender, target)] = how
        if self.remote == "":
            self.remote, self.jid = sender, JID.of("", sender)
        if self.stream is not None:
            self.stream.admit()
        self.federation.authenticated(self, sender, target, how)
        if self.bidi and not self.outgoing:
            self.carries.add((target, sender))
            self.how[(target, sender)] = f"bidi, {how}"
            self._join(self.federation.routeFor(target, sender))

    def _join(self, route: Route) -> None:
        """We may send a pair on a stream that the other server has opened for both directions. Nobody counts what we
        send before its ``<enable/>``, and a cut would lose it: so that comes first, if it comes at all."""
        if route.resuming:
            # What that stream has left goes first, and the rest goes the same way.
            return
        state = self.managed
        if state is None and self.federation.management:
            state = self.managed = managing.Management()
            state.holding = True
            self.federation.clock.callLater(ENABLE_TIME, self.letIn)
        if state is not None and state.holding:
            state.routes.append(route)
        else:
            route.use(self)

    def letIn(self) -> None:
        """The routes of `_join` wait no more."""
        state = self.managed
        if state is None or not state.holding:
            return
        state.holding = False
        routes, state.routes = state.routes, []
        if not self.ended:
            for route in routes:
                route.use(self)

    def accepted(self, local: str, remote: str, how: str) -> None:
        """The other server takes what we send for a pair, ours first. If both directions were agreed on, what we know
        of it is enough to take what it sends on this stream (hardening S09)."""
        self.carries.add((local, remote))
        self.how[(local, remote)] = how
        self.federation.accepted(local, remote, how)
        if self.stream is not None:
            self.stream.admit()
        if self.bidi:
            self.accept(remote, local, f"bidi, {self.proof or 'by DNS'}")

    # -- to the other server -----------------------------------------------------------------------

    def reply(self, stanza: Element) -> None:
        """See `Origin.reply`: answers go the way of all stanzas, over the stream that carries their pair."""
        pair = (JID.parse(stanza.attrs["to"]).domain, JID.parse(stanza.attrs["from"]).domain)
        home = self.accepts.get(pair) or self.federation.router.homeOf(pair[1])
        home.send(stanza)

    def carry(self, data: bytes, transit: Transit) -> None:
        """Send a stanza; a message is settled when the kernel has it, or the other server with XEP-0198."""
        if len(data) > self.largest:
            # It would end the stream of all others (XEP-0478).
            giveBack(transit, StanzaError("policy-violation", text=f"too large for {self.remote}"))
            return
        self.sent += 1
        if self.queue is not None:
            managing.carry(self, data, transit)
            return
        if self.stream is not None:
            self.stream.send(data)
        if transit.kind == "message":
            # On a stream that is just being ended nobody asks for it any more, and `end` takes it back.
            self._unsent.sent((data, transit))
            if self.watching is None:
                overdue.watch(self)

    def _took(self, parcel: Parcel) -> None:
        """The kernel has a message."""
        self.taken += 1
        parcel[1].finish()

    def prove(self, local: str, remote: str) -> Deferred[None]:
        """Have the other server accept a pair, ours first; fails with `Unreachable`."""
        if (local, remote) in self.carries:
            return succeed(None)
        return proofs.ask(self, local, remote)

    def begin(self, route: Route) -> None:
        """The pair of a route may be sent: use this link, after what has to be said before."""
        managing.begin(self, route)

    # -- the end -----------------------------------------------------------------------------------

    def probe(self) -> bool:
        """`IProbingSession.probe`: a stream that nobody uses any more is closed."""
        stanzas = self.sent + self.received
        self._looks = self._looks + 1 if stanzas == self._seen else 0
        self._seen = stanzas
        if self._looks >= IDLE_LOOKS:
            self.reason = "nobody used it"
            self.disconnect()
            return False
        return managing.probe(self)

    @property
    def pending(self) -> bool:
        """Whether messages are under way of which we do not know that they have arrived."""
        return bool(self._unsent or self.queue)

    def expire(self) -> None:
        """The time for a proof is over. A stream that was opened to ask about somebody else's is closed in peace; while
        it is being asked something, that has a time of its own."""
        if self.carries or self.accepts or self.ended:
            return
        if self.outgoing and (self.asked or self.questions):
            self.federation.clock.callLater(self.federation.policy.answerTime, self.expire)
        elif self.outgoing:
            self.reason = "nobody used it"
            self.disconnect()
        else:
            self.reason = "nothing was proved within the time"
            self.disconnect(StreamError("connection-timeout"))

    def prepareShutdown(self) -> None:
        """`IClosingSession.prepareShutdown`: the last acknowledgement."""
        managing.lastAcknowledgement(self)

    def disconnect(self, error: StreamError | None = None) -> None:
        """End the link from our side."""
        managing.lastAcknowledgement(self)
        stream, self.stream = self.stream, None
        if stream is not None:
            if error is None:
                stream.close()
            else:
                stream.fail(error)
        self.end()

    def streamLost(self) -> None:
        """`ISession.streamLost`."""
        managing.suspend(self)
        self.end()

    def streamClosed(self) -> None:
        """`ISession.streamClosed`: the last acknowledgement may just have come."""
        self.dismissed = True
        managing.lastAcknowledgement(self)
        self.end()

    def end(self) -> None:
        """The stream has gone; what the other server has not taken looks for another way."""
        if self.ended:
            return
        self.ended = True
        self.stream = None
        overdue.stop(self)
        parcels = [*managing.remainder(self), *self._unsent.takeBack()]
        self.federation.left(self, parcels)
        error = Unreachable(self.reason)
        asked, questions = list(self.asked.values()), list(self.questions.values())
        self.asked.clear()
        self.questions.clear()
        for proof in asked:
            proof.errback(error)
        for question in questions:
            question.errback(error)


def _improper() -> StreamError:
    return StreamError("improper-addressing", "stanzas between servers have 'from' and 'to'")


def _domainOf(address: str) -> str:
    """The domain of what may be no address, "" if that is none either."""
    bare = address.partition("/")[0]
    try:
        return prepareDomain(bare.partition("@")[2] if "@" in bare else bare)
    except InvalidJID:
        return ""
