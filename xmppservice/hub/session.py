"""`Session`: a bound resource, with or without a stream under it.

Theory of operation. The edge hands every first-level element of a bound stream to `receive`,
which stamps ``from``, makes a `Transit` and passes it to the account: that is the hot path.
With stream management (XEP-0198) the session outlives its stream: it keeps the bytes that the
peer has not acknowledged and the count of what it has received, and either a new stream
resumes it or, when its time is up, its messages go to other sessions or to offline storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from xmppservice.hub import management, presence
from xmppservice.hub.contracts.stream import IClosingSession, IProbingSession
from xmppservice.hub.origin import Origin
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.protocol.stanza import checkIQ, errorFor, messageType, presenceType
from xmppservice.wire import ns
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.unsettled import Held
    from xmppservice.protocol.stream.resume import ResumeQueue
    from xmppservice.wire.element import Element


@implementer(IProbingSession, IClosingSession)
class Session(Origin):
    """One connected or hibernating resource of an account.

    `available` and `priority` follow its presence; `interested` is set once it has asked for
    the roster (RFC 6121 2.2); `notes` belongs to modules, by module name.
    """

    isSession = True

    __slots__ = (
        "_sent", "account", "address", "available", "directed", "hibernation", "interested", "jid", "management",
        "notes", "presence", "priority", "queue", "resource", "since", "unflushed",
    )  # fmt: skip

    def __init__(self, account: Account, jid: JID, stream: IStream) -> None:
        super().__init__(stream, account.host.store)
        self.account = account
        self.jid = jid
        self.resource = jid.resource
        self.since = account.host.clock.now()
        #: The host's counts, at hand.
        self._sent = account.host.sent
        #: ``<presence from='…'`` as bytes, ready for fan-out; made with the first presence.
        self.address = b""
        #: The last available presence: what stands behind the addresses, as bytes; b"" if none.
        self.presence = b""
        self.available = False
        self.priority = 0
        self.interested = False
        self.directed: set[str] | None = None
        self.notes: dict[str, Any] | None = None
        self.queue: ResumeQueue | None = None
        #: Resumption token and the like while stream management is on.
        self.management: management.Management | None = None
        self.hibernation: IDelayedCall | None = None
        #: Messages sent without XEP-0198 that are not in the kernel yet.
        self.unflushed: list[Held] | None = None

    # -- inbound ---------------------------------------------------------------------------------

    def receive(self, element: Element) -> None:
        """Take one first-level element (`ISession.receive`): the hot path begins here."""
        if element.ns != ns.CLIENT:
            management.receive(self, element)
            return
        ledger = self.ledger
        if ledger is not None:
            ledger.handled += 1
        try:
            transit = self._transit(element)
        except StanzaError as error:
            self._refuseRaw(element, error)
            return
        if self._waiting and (key := (transit.sender.bare, transit.to.bare)) in self._waiting:
            transit.park()
            self._waiting.join(key, lambda: self._follow(transit))
        else:
            self._dispatch(transit)
        if ledger is not None and (transit.pending or transit.ticket > self.store.committed):
            if transit.pending:
                transit.finished = self._settled
            ledger.mark(transit)
        if transit.ticket and self.store.crowded:
            self._awaitStore(transit.ticket)

    def _transit(self, element: Element) -> Transit:
        """Check the addresses and the type (RFC 6120 8.1); stamp ``from`` and normal ``to``."""
        kind = element.name
        attrs = element.attrs
        jid = self.jid
        sender = attrs.get("from")
        if sender is not None and sender != jid.full and sender != jid.bare:
            self._checkFrom(sender)
        attrs["from"] = jid.full
        target = attrs.get("to")
        if target is None:
            to = self.account.jid
        else:
            try:
                to = JID.parse(target)
            except InvalidJID:
                raise StanzaError("jid-malformed", text=f"The 'to' address is not valid: {target[:100]!a}") from None
            attrs["to"] = to.full
        if kind == "message":
            type = messageType(element)
        elif kind == "iq":
            checkIQ(element)
            type = attrs["type"]
        elif kind == "presence":
            type = presenceType(element)
        else:
            raise StreamError("unsupported-stanza-type")
        host = self.account.host
        host.received[kind] += 1
        return Transit(element, kind, type, jid, to, self, host)

    def _checkFrom(self, sender: str) -> None:
        """Another spelling of our own address is fine; anything else ends the stream (RFC 6120 8.1.2.1)."""
        try:
            claimed = JID.parse(sender)
        except InvalidJID:
            raise StreamError("invalid-from") from None
        if claimed != self.jid and claimed != self.account.jid:
            raise StreamError("invalid-from")

    def _dispatch(self, transit: Transit) -> None:
        """Let the account send it; what is refused goes back to the sender as an error."""
        try:
            if transit.kind == "presence":
                presence.outgoing(self, transit)
            else:
                self.account.send(transit)
        except Exception:
            self._failed(transit)

    def _refuseRaw(self, element: Element, error: StanzaError) -> None:
        """Answer a stanza that is too broken to travel, in the addressee's name if that is one."""
        attrs = element.attrs
        attrs["from"] = self.jid.full
        if error.condition == "jid-malformed":
            attrs["to"] = self.account.host.name
        else:
            attrs.setdefault("to", self.account.jid.bare)
        reply = errorFor(element, error)
        host = self.account.host
        if element.name in host.received:
            host.received[element.name] += 1
        if reply is not None:
            host.traffic.refused(error.condition)
            self.deliver(serialize(reply))

    def _settled(self) -> None:
        management.settled(self)

    def reply(self, stanza: Element) -> None:
        """See `Origin.reply`; whatever the server answers is to the full JID."""
        stanza.attrs["to"] = self.jid.full
        self.deliver(serialize(stanza))

    # -- outbound --------------------------------------------------------------------------------

    def deliver(self, data: bytes, message: Held | None = None) -> None:
        """Send one stanza's bytes to the peer, now or, hibernating, after resumption.

        `message` is what has to happen if the peer never acknowledges it.
        """
        self._sent[data[1]] += 1
        if self.queue is not None:
            management.deliver(self, data, message)
            return
        stream = self.stream
        if stream is None:
            # It ended while somebody was delivering to several: this one was not taken either.
            again = message.lost(self.account) if message is not None else None
            if again is not None:
                self.account.redeliver([again])
            return
        stream.send(data)
        if message is not None:
            if self.unflushed is None:
                self.unflushed = []
            self.unflushed.append(message)
            if len(self.unflushed) == 1:
                stream.afterFlush(lambda: self._flushed(1))

    def _flushed(self, count: int) -> None:
        """The kernel has the first `count` messages: without XEP-0198 that counts as taken."""
        unflushed = self.unflushed
        if unflushed is None:
            return
        for message in unflushed[:count]:
            message.taken(self.account)
        del unflushed[:count]
        rest = len(unflushed)
        if rest and self.stream is not None:
            self.stream.afterFlush(lambda: self._flushed(rest))

    def showsItself(self, who: JID) -> bool:
        """Whether `who` got directed presence from this session (RFC 6121 4.6)."""
        directed = self.directed
        return directed is not None and (who.full in directed or who.bare in directed)

    # -- the end ---------------------------------------------------------------------------------

    def streamLost(self) -> None:
        """`ISession.streamLost`: hibernate if the peer may come back, else end."""
        if self.ended:
            return
        self.stream = None
        if not management.hibernate(self):
            self.end()

    def streamClosed(self) -> None:
        """`ISession.streamClosed`: the peer said goodbye, nothing is kept for it."""
        management.lastAcknowledgement(self)
        self.stream = None
        self.end()

    def disconnect(self, error: StreamError | None = None) -> None:
        """End the session from our side: with a stream error, or a plain close."""
        stream, self.stream = self.stream, None
        if stream is not None:
            if error is None:
                stream.close()
            else:
                stream.fail(error)
        self.end()

    def end(self) -> None:
        """The session is over: leave the account, go unavailable, pass on what was not taken."""
        if self.ended:
            return
        self.ended = True
        if self.hibernation is not None:
            if self.hibernation.active():
                self.hibernation.cancel()
            self.hibernation = None
        self.account.remove(self)
        presence.vanished(self)
        unflushed, self.unflushed = self.unflushed, None
        management.passOn(self, unflushed or ())
        self.account.host.sessionClosed(self)

    def probe(self) -> bool:
        """`IProbingSession.probe`: ask the peer for a sign of life."""
        management.probe(self)
        return True

    def prepareShutdown(self) -> None:
        """`IClosingSession.prepareShutdown`: the last acknowledgement."""
        management.lastAcknowledgement(self)
