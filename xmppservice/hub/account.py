"""`Account`: what the server knows of one account while it is online or recently was.

It holds the facts that decide about stanzas (roster states, blocks, role, id), so that no
stanza needs a database read, and the account's sessions. Names and groups of contacts are not
here. All of an account's state changes in this object and in the storage together: a change
is applied at once and its ticket is remembered, so later reads see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.hub import management
from xmppservice.hub.contracts.stream import IAccount
from xmppservice.hub.delivery import BARE, FULL, Choice, Otherwise, choose
from xmppservice.hub.hooks import ACCOUNT, HANDLED
from xmppservice.hub.passage import logIncident, run
from xmppservice.hub.unsettled import UnansweredIQ, Unsettled
from xmppservice.hub.waiting import WaitingLine
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.subscription import FROM, KNOWN
from xmppservice.wire.serializer import escapeAttribute, innerBytes, startTag

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import AccountRecord
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.origin import Origin
    from xmppservice.hub.session import Session
    from xmppservice.hub.table import IQEntry
    from xmppservice.hub.transit import Transit

log = Logger()

#: How many stanzas may wait for one account while a module on its side does; more come back to their senders.
RECEIVING_LIMIT = 1000

_ENDS = {"message": b"</message>", "presence": b"</presence>", "iq": b"</iq>"}


def stanzaBytes(transit: Transit) -> bytes:
    """The stanza as the recipient's stream gets it."""
    stanza = transit.stanza
    return startTag(stanza.name, stanza.attrs) + innerBytes(stanza) + transit.suffix + _ENDS[transit.kind]


@implementer(IAccount)
class Account:
    """A local account. `roster` maps bare JIDs to state flags of `protocol.subscription`."""

    __slots__ = (
        "_line", "address", "blocks", "catchingUp", "enabled", "host", "id", "jid", "offline", "role",
        "roster", "rosterFloor", "rosterVersion", "sessions", "ticket",
    )  # fmt: skip

    def __init__(self, host: VirtualHost, jid: JID, record: AccountRecord) -> None:
        self.host = host
        self.jid = jid
        #: The bare JID as escaped bytes, for fan-out.
        self.address = escapeAttribute(jid.bare).encode()
        self.sessions: dict[str, Session] = {}
        #: The highest ticket of a write to this account's rows.
        self.ticket = 0
        self._line: WaitingLine | None = None
        #: The session that is getting messages from the storage: what comes now is behind those.
        self.catchingUp: Session | None = None
        self.refresh(record)

    def refresh(self, record: AccountRecord) -> None:
        """Take the facts as the storage has them."""
        self.id = record.id
        self.enabled = record.enabled
        self.role = record.role
        self.roster: dict[str, int] = record.roster
        self.rosterVersion = record.rosterVersion
        self.rosterFloor = record.rosterFloor
        self.blocks: frozenset[str] = record.blocks
        self.offline = record.offline

    # -- facts -----------------------------------------------------------------------------------

    def setState(self, contact: str, state: int, request: bytes | None = None) -> int:
        """Change a subscription state, here and in the storage; returns the ticket."""
        version = self.rosterVersion = self.rosterVersion + 1
        if state:
            self.roster[contact] = state
            ticket = self.host.rosters.setState(self.id, contact, state, version, request, self._writeFailed)
        else:
            self.roster.pop(contact, None)
            ticket = self.host.rosters.remove(self.id, contact, version, self._writeFailed)
        self.wrote(ticket)
        return ticket

    def wrote(self, ticket: int) -> None:
        """A write to this account's rows is under `ticket`: later reads wait for it."""
        self.ticket = max(self.ticket, ticket)
        self.host.factsTicket = max(self.host.factsTicket, ticket)

    def _writeFailed(self, error: Exception) -> None:
        """State in memory is ahead of the storage: drop the facts and read them again."""
        log.error("a change to {jid} could not be stored: {error}", jid=self.jid.bare, error=str(error))
        self.host.reloadFacts(self)

    def seesPresence(self, who: JID) -> bool:
        """Whether `who` may know about this account's resources (RFC 6121 8.5.3.1)."""
        if who.bare == self.jid.bare or self.roster.get(who.bare, 0) & FROM:
            return True
        return any(session.showsItself(who) for session in self.sessions.values())

    def inRoster(self, who: JID) -> bool:
        """Whether `who` has a roster item."""
        return bool(self.roster.get(who.bare, 0) & KNOWN)

    # -- sessions --------------------------------------------------------------------------------

    def bind(self, stream: IStream, resource: str | None) -> Deferred[Any]:
        """`IAccount.bind`."""
        return self.host.bind(self, stream, resource)

    def resume(self, stream: IStream, previd: str, h: int) -> Deferred[Any]:
        """`IAccount.resume`."""
        return management.resume(self, stream, previd, h)

    def remove(self, session: Session) -> None:
        """A session has ended."""
        if self.sessions.get(session.resource) is session:
            del self.sessions[session.resource]
        self.host.accounts.touched(self)

    def disconnect(self, error: StreamError, keep: JID | None = None) -> None:
        """End all sessions but `keep`: the account was changed, disabled or deleted."""
        for session in list(self.sessions.values()):
            if session.jid != keep:
                session.disconnect(error)

    # -- the sender's side -----------------------------------------------------------------------

    def send(self, transit: Transit) -> None:
        """A message or IQ of one of our sessions goes out: POLICY, AMEND, STORE, OBSERVE, then routing."""
        transit.account = self
        chain = transit.host.table.sending[transit.kind].before[transit.type]
        if not chain.empty:
            outcome = run(transit, chain.steps(transit.stanza), self.host.clock)
            if outcome is not None:
                self._conclude(transit, outcome, self.host.router.route, transit.origin)
                return
        self.host.router.route(transit)

    # -- the recipient's side --------------------------------------------------------------------

    def receive(self, transit: Transit) -> None:
        """A stanza has reached this account: POLICY, AMEND, STORE, then delivery."""
        transit.account = self
        if self._line and 0 in self._line:
            if len(self._line) >= RECEIVING_LIMIT:
                raise StanzaError("resource-constraint", text="too much waits for this account")
            transit.park()
            self._line.join(0, lambda: self._resumeReceiving(transit))
            return
        chain = transit.host.table.receiving[transit.kind].before[transit.type]
        if not chain.empty:
            outcome = run(transit, chain.steps(transit.stanza), self.host.clock)
            if outcome is not None:
                self._conclude(transit, outcome, self.deliver, None)
                return
        self.deliver(transit)

    def _resumeReceiving(self, transit: Transit) -> None:
        self._guarded(self.receive, transit)
        transit.finish()

    def deliver(self, transit: Transit) -> None:
        """DELIVER, the core's own phase."""
        if transit.kind == "message":
            self._deliverMessage(transit)
        elif transit.kind == "iq":
            self._deliverIQ(transit)
        else:
            self.host.receivePresence(self, transit)

    def _deliverMessage(self, transit: Transit) -> None:
        to = transit.to
        sessions: Sequence[Session]
        choice, otherwise = BARE[transit.type]
        if to.resource:
            exact = self.sessions.get(to.resource)
            if exact is not None:
                self._hand(transit, (exact,))
                return
            choice, otherwise = FULL[transit.type]
        sessions = choose(tuple(self.sessions.values()), choice)
        if sessions:
            self._hand(transit, sessions)
        else:
            self._nobody(transit, otherwise)

    def _hand(self, transit: Transit, sessions: Sequence[Session]) -> None:
        """Give the message to sessions; if it is worth storing, it is held until one has taken it."""
        data = stanzaBytes(transit)
        policy = self.host.offlinePolicy
        if policy is None or not policy.keeps(transit):
            for session in sessions:
                session.deliver(data)
            return
        if self.catchingUp is not None and self.catchingUp is sessions[0] and len(sessions) == 1:
            self._nobody(transit, Otherwise.STORE)
            return
        host = self.host
        message = Unsettled(transit, data, host.clock.now())
        message.copies = len(sessions)
        origin = transit.origin
        if origin is not None and origin.ledger is not None and self.id:
            # The sender is told that we have it: from then on no crash may lose it.
            message.key, ticket = host.spool.hold(
                self.id, message.stamp, data, lambda error: self._notKept(message, error)
            )
            transit.depends(ticket)
        for session in sessions:
            session.deliver(data, message)

    def _notKept(self, message: Unsettled, error: Exception) -> None:
        """The spool could not take the message: its sender must not believe that we have it."""
        if message.moved or not message.settled:
            log.warn("a message could not be kept: {error}", error=str(error))
            self._refuse(message, StanzaError("resource-constraint", text="the message could not be stored"))

    def _refuse(self, message: Unsettled, error: StanzaError) -> None:
        reply = message.error(error)
        if reply is not None:
            self.host.send(reply)

    def _nobody(self, transit: Transit, otherwise: Otherwise) -> None:
        """No session for a message: FALLBACK, then what table 1 says."""
        if otherwise is Otherwise.STORE:
            chain = self.host.table.receiving["message"].fallback[transit.type]
            outcome = run(transit, chain.steps(transit.stanza), self.host.clock)
            if outcome is HANDLED:
                return
            if outcome is not None:
                self._conclude(transit, outcome, _unavailable, None)
                return
        if otherwise is not Otherwise.IGNORE:
            _unavailable(transit)

    def settle(self, message: Unsettled) -> None:
        """The kernel, or the peer, has taken a message."""
        message.taken(self)

    def redeliver(self, messages: Sequence[Unsettled]) -> None:
        """Messages that a dead session had not taken: to other sessions, else to offline storage."""
        if not messages:
            return
        sessions = choose(tuple(self.sessions.values()), Choice.BEST)
        if sessions:
            for message in messages:
                message.copies = len(sessions)
                data = message.late(self.host)
                for session in sessions:
                    session.deliver(data, message)
            return
        policy = self.host.offlinePolicy
        for message in messages:
            if policy is None or not policy.accept(self, message):
                self._refuse(message, StanzaError("service-unavailable"))
                message.taken(self)

    # -- IQs -------------------------------------------------------------------------------------

    def _deliverIQ(self, transit: Transit) -> None:
        request = transit.type in ("get", "set")
        if transit.to.resource:
            session = self.sessions.get(transit.to.resource)
            if session is None:
                if request:
                    _unavailable(transit)
            elif not request:
                session.deliver(stanzaBytes(transit))
            elif transit.sender == self.host.jid or self.seesPresence(transit.sender):
                session.deliver(stanzaBytes(transit), UnansweredIQ(transit) if session.queue is not None else None)
            else:
                _unavailable(transit)
        elif request:
            self._answer(transit)
        else:
            self.host.requests.answered(transit)

    def _answer(self, transit: Transit) -> None:
        """Answer an IQ to the bare JID on behalf of the account (RFC 6121 8.5.2.1.3)."""
        payload = transit.payload
        assert payload is not None
        if self.host.delegations and self.host.delegated(transit, payload):
            return
        entry = self.host.table.iqEntry(transit.type, payload, ACCOUNT)
        if entry is None or not self._mayAsk(entry, transit.sender):
            _unavailable(transit)
            return
        self.host.answer(transit, entry)

    def _mayAsk(self, entry: IQEntry, who: JID) -> bool:
        if entry.access == "anyone" or who.bare == self.jid.bare:
            return True
        return entry.access == "subscribers" and bool(self.roster.get(who.bare, 0) & FROM)

    # -- handlers that answer or wait ------------------------------------------------------------

    def _conclude(self, transit: Transit, outcome: Any, proceed: Any, origin: Origin | None) -> None:
        """A handler did more than pass the stanza on: reply, drop, or wait and `proceed`.

        On the sender's side what waits is the pair, on its stream; on the recipient's side it is
        the account.
        """
        if outcome is HANDLED:
            return
        if not isinstance(outcome, Deferred):
            self.host.reply(transit, outcome)
            return
        if origin is not None:
            origin.hold(transit)
        else:
            transit.park()
            if self._line is None:
                self._line = WaitingLine(_ignore, _ignore)
            self._line.begin(0)

        def done(result: Any) -> None:
            if result is None:
                self._guarded(proceed, transit)
            elif result is not HANDLED:
                self.host.reply(transit, result)

        def release(_: object) -> None:
            if origin is not None:
                origin.release(transit)
                return
            transit.finish()
            if self._line is not None:
                self._line.end(0)

        outcome.addCallback(done).addErrback(lambda failure: self.host.refused(transit, failure))
        outcome.addBoth(release).addErrback(
            lambda failure: log.failure("what waited behind a stanza could not follow", failure)
        )

    def _guarded(self, action: Any, transit: Transit) -> None:
        try:
            action(transit)
        except StanzaError as error:
            self.host.bounce(transit, error)
        except Exception as error:
            # Whatever happens here must not keep the line that waits behind it.
            logIncident(f"a waiting {transit.kind} could not be finished")
            self.host.bounce(transit, error)


def _ignore() -> None:
    """A waiting account does not stop anybody's reading."""


def _unavailable(transit: Transit) -> None:
    """The answer that tells nothing (RFC 6121 8.5.1)."""
    raise StanzaError("service-unavailable")
