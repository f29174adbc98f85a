"""`VirtualHost`: one domain with accounts, its modules and its tables.

The host is the port of its own domain: the router hands it whole stanzas. It also is what
modules see of the server: they send through it and ask it for what others provide.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.hub import binding, hooks, presence, subscribing
from xmppservice.hub.account import Account, stanzaBytes
from xmppservice.hub.accounts import AccountCache
from xmppservice.hub.contracts.delivery import IBlockPolicy, IDelegation, IOfflinePolicy, IPort
from xmppservice.hub.contracts.stream import IStreamHost
from xmppservice.hub.figures import Figures
from xmppservice.hub.hooks import HANDLED, HOST, EventPoint
from xmppservice.hub.management import Resumption, answerHeld
from xmppservice.hub.passage import asDeferred, logIncident
from xmppservice.hub.requests import Requests
from xmppservice.hub.table import DispatchTable, IQEntry
from xmppservice.hub.telemetry import Traffic
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.stanza import errorFor, messageType
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.limits import Limits
from xmppservice.wire.parser import parseDocument
from xmppservice.wire.serializer import escapeAttribute

if TYPE_CHECKING:
    from twisted.cred.portal import Portal
    from twisted.python.failure import Failure

    from xmppservice.hub.contracts import storage
    from xmppservice.hub.contracts.administration import IAdministration
    from xmppservice.hub.contracts.auth import IScramSecrets, IThrottle
    from xmppservice.hub.contracts.clock import IClock
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.module import HostModule
    from xmppservice.hub.router import Router
    from xmppservice.hub.session import Session

log = Logger()
I = TypeVar("I")  # noqa: E741

#: How many ended sessions a host remembers the last count of (XEP-0198 section 5, ``<failed h=…/>``).
FORMER_LIMIT = 1000

_MANY = 1 << 30
#: For bytes of our own making: the stanza was within the limits when it came, but escaping makes it longer.
_OURS = Limits(stanzaBytes=_MANY, elements=_MANY, depth=_MANY, attributes=_MANY, token=_MANY, declarations=_MANY)


@attrs.frozen
class Services:
    """What the server gives to each of its hosts."""

    clock: IClock
    router: Router
    store: storage.IStore
    accounts: storage.IAccounts
    rosters: storage.IRosters
    blocks: storage.IBlocks
    spool: storage.ISpool
    offline: storage.IOfflineStore
    #: Prefix of resumption tokens and stanza ids, one per node of a cluster.
    node: str = "0"
    figures: Figures = attrs.field(factory=Figures)
    traffic: Traffic = attrs.field(factory=Traffic)


@implementer(IPort, IStreamHost)
class VirtualHost:
    """One domain. `id` is its id in the storage."""

    #: Set by whoever composes the server: Cred's portal, the salts for SCRAM, and administration.
    portal: Portal
    secrets: IScramSecrets | None = None
    administration: IAdministration
    throttle: IThrottle | None = None
    #: Whether modules limit how often things may be done; a test bed switches all limits off.
    limited: bool = True

    def __init__(
        self, name: str, id: int, services: Services, resourceLimit: int = 10, resourceConflict: str = "replace"
    ) -> None:
        self.name = name
        self.id = id
        self.jid = JID.parse(name)
        self.services = services
        self.clock = services.clock
        self.router = services.router
        self.store = services.store
        self.rosters = services.rosters
        self.spool = services.spool
        self.node = services.node
        self.figures = services.figures
        self.traffic = traffic = services.traffic
        # Sessions count here with each stanza.
        self.received, self.sent = traffic.received, traffic.sent
        self.resourceLimit = resourceLimit
        self.resourceConflict = resourceConflict
        self.accepting = True
        self.stopping = False
        self.modules: dict[str, HostModule] = {}
        self.table = DispatchTable(())
        self.accounts = AccountCache(self._record, self._makeAccount)
        self.requests = Requests(self)
        #: The highest ticket of a write to any account's facts.
        self.factsTicket = 0
        self.resumption: Resumption | None = None
        self.resumables: dict[str, Session] = {}
        self.offlinePolicy: IOfflinePolicy | None = None
        self._blockPolicy: IBlockPolicy | None = None
        #: Namespaces of IQs that components answer in our place (XEP-0355).
        self.delegations: Mapping[str, IDelegation] = {}
        self._former: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._held: set[Session] = set()
        self._waitingForSettled: list[tuple[Session, float, Deferred[None]]] = []
        self._sweeping = False
        self._unsubscribe = services.store.onCommit(self._committed)

    # -- accounts --------------------------------------------------------------------------------

    def _record(self, local: str) -> Deferred[storage.AccountRecord | None]:
        return self.services.accounts.record(self.id, local, self.factsTicket)

    def _makeAccount(self, record: storage.AccountRecord) -> Account:
        return Account(self, JID.of(record.local, self.name), record)

    def account(self, local: str) -> Deferred[Account | None]:
        """The account with this prepared localpart, or None."""
        return self.accounts.obtain(local)

    def reloadFacts(self, account: Account) -> None:
        """Read an account's facts again."""

        def read(record: storage.AccountRecord | None) -> None:
            if record is not None:
                account.refresh(record)

        self._record(account.jid.local).addCallbacks(
            read, lambda failure: log.failure("cannot read the facts of {jid}", failure, jid=account.jid.bare)
        )

    def bind(self, account: Account, stream: IStream, resource: str | None) -> Deferred[Session]:
        """A new session (`xmppservice.hub.binding`); none on a host that was taken away meanwhile."""
        if self.stopping:
            return fail(StanzaError("service-unavailable"))
        return binding.bind(account, stream, resource)

    def sessionBound(self, session: Session) -> None:
        """A session was made."""
        self.fire(hooks.session.bound, session)

    def sessionClosed(self, session: Session) -> None:
        """A session has ended."""
        self._held.discard(session)
        self.fire(hooks.session.closed, session)

    def sessions(self) -> list[Session]:
        """All sessions, hibernating ones included."""
        return [session for account in self.accounts.online() for session in account.sessions.values()]

    # -- stanzas for this domain -----------------------------------------------------------------

    def deliver(self, transit: Transit) -> Deferred[None] | None:
        """`IPort.deliver`: to the account, or to the host itself."""
        transit.host = self
        local = transit.to.local
        if not local:
            self._deliverToHost(transit)
            return None
        try:
            account = self.accounts.known[local]
        except KeyError:
            return self.accounts.obtain(local).addCallback(self._whenKnown, transit)
        if account is None:
            self._nobody(transit)
        else:
            account.receive(transit)
        return None

    def _whenKnown(self, account: Account | None, transit: Transit) -> None:
        if account is None:
            self._nobody(transit)
        else:
            account.receive(transit)

    def _nobody(self, transit: Transit) -> None:
        """The account does not exist (RFC 6121 8.5.1)."""
        if transit.kind == "iq" or (transit.kind == "message" and transit.type in ("normal", "chat", "groupchat")):
            raise StanzaError("service-unavailable")
        if transit.kind == "presence" and transit.type == "probe":
            id = transit.stanza.get("id")
            self.send(presence.plain("unsubscribed", transit.to.bare, transit.sender.bare, id))

    def _deliverToHost(self, transit: Transit) -> None:
        """A stanza for the domain itself (RFC 6120 10.5.1)."""
        transit.account = None
        if transit.kind == "iq":
            if transit.type in ("get", "set"):
                payload = transit.payload
                if payload is None or transit.to.resource:
                    raise StanzaError("service-unavailable")
                if self.delegations and self.delegated(transit, payload):
                    return
                entry = self.table.iqEntry(transit.type, payload, HOST)
                if entry is None:
                    raise StanzaError("service-unavailable")
                self.answer(transit, entry)
            else:
                self.requests.answered(transit)
        elif transit.kind == "message" and transit.type in ("normal", "chat", "groupchat"):
            raise StanzaError("service-unavailable")

    def delegated(self, transit: Transit, payload: Element) -> bool:
        """Whether a component answers this IQ in our place (XEP-0355 section 4.3)."""
        delegation = self.delegations.get(payload.ns)
        return delegation is not None and delegation.take(transit)

    def answer(self, transit: Transit, entry: IQEntry) -> None:
        """Let a handler answer an IQ; raises StanzaError if it refuses at once."""
        try:
            outcome = entry.method(transit)
        except StanzaError:
            raise
        except Exception:
            incident = logIncident("an IQ could not be answered")
            raise StanzaError("internal-server-error", text=f"incident {incident}") from None
        if isinstance(outcome, Element):
            self.reply(transit, outcome)
        elif outcome is None:
            raise StanzaError("service-unavailable")
        elif outcome is not HANDLED:
            self._answerLater(transit, asDeferred(outcome, self.clock))

    def fromComponent(self, transit: Transit) -> bool:
        """Show the modules what a component has sent; True if one has taken it, `StanzaError` if one refuses it."""
        payload = transit.payload
        methods = () if payload is None else self.table.keyed.get((hooks.component.sending, payload.ns), ())
        if methods:
            transit.host = self
        for method in methods:
            outcome = method(transit)
            if outcome is None:
                continue
            if isinstance(outcome, Element):
                self.reply(transit, outcome)
            elif outcome is not HANDLED:
                self._answerLater(transit, asDeferred(outcome, self.clock))
            return True
        return False

    def _answerLater(self, transit: Transit, outcome: Deferred[Any]) -> None:
        origin = transit.origin
        if origin is not None:
            origin.hold(transit)

        def done(result: Any) -> None:
            if isinstance(result, Element):
                self.reply(transit, result)
            elif result is not HANDLED:
                self.bounce(transit, StanzaError("service-unavailable"))

        outcome.addCallback(done).addErrback(lambda failure: self.refused(transit, failure))
        if origin is not None:
            outcome.addBoth(lambda _: origin.release(transit))

    # -- sending ---------------------------------------------------------------------------------

    def send(self, stanza: Element) -> None:
        """Send a stanza of the server's own making; ``from`` and ``to`` are set and right.

        Nothing is raised: what cannot be delivered is dropped.
        """
        attrs_ = stanza.attrs
        sender, to = JID.parse(attrs_.get("from", self.name)), JID.parse(attrs_["to"])
        type = messageType(stanza) if stanza.name == "message" else attrs_.get("type", "")
        self._route(Transit(stanza, stanza.name, type, sender, to, None, self))

    def _route(self, transit: Transit) -> None:
        try:
            self.router.route(transit)
        except StanzaError as error:
            log.debug("a stanza of the server was refused: {error}", error=str(error))
            self.requests.refused(transit, error)
        except Exception:
            logIncident("a stanza of the server could not be delivered")

    def request(self, iq: Element, timeout: float = 30.0) -> Deferred[Element]:
        """Send an IQ request of the server's own and wait for the answer."""
        return self.requests.send(iq, timeout)

    def reply(self, transit: Transit, reply: Element) -> None:
        """Send an IQ result, or error; a change that it reports is committed first."""
        if transit.ticket > self.store.committed and reply.attrs.get("type") == "result":
            committed = self.store.whenCommitted(transit.ticket)
            committed.addCallback(lambda _: self._sendReply(transit, reply))
            committed.addErrback(
                lambda failure: self.bounce(transit, StanzaError("internal-server-error", type="wait"))
            )
            return
        self._sendReply(transit, reply)

    def _sendReply(self, transit: Transit, reply: Element) -> None:
        origin = transit.origin
        if origin is not None and not origin.ended:
            origin.reply(reply)
        else:
            self.send(reply)

    def bounce(self, transit: Transit, error: BaseException) -> None:
        """Answer a stanza with an error, where one may be sent (RFC 6120 8.3.1)."""
        if not isinstance(error, StanzaError):
            error = StanzaError("internal-server-error")
        stanza = transit.stanza
        if "to" not in stanza.attrs:
            stanza.attrs["to"] = transit.to.bare
        if transit.kind == "presence" and (
            transit.type == "probe" or (transit.origin is None and transit.type not in ("", "subscribe", "subscribed"))
        ):
            return
        reply = errorFor(stanza, error)
        if reply is not None:
            self.traffic.refused(error.condition)
            self._sendReply(transit, reply)

    def refused(self, transit: Transit, failure: Failure) -> None:
        """A stanza that had waited has failed: bounce it; log what nobody expected."""
        error = failure.value
        if not isinstance(error, StanzaError):
            incident = logIncident(f"a {transit.kind} that waited has failed", failure)
            error = StanzaError("internal-server-error", text=f"incident {incident}")
        self.bounce(transit, error)

    def parse(self, data: bytes) -> Element:
        """A stanza from bytes in the client context, such as the storage holds."""
        document = parseDocument(b"<x xmlns='jabber:client'>" + data + b"</x>", _OURS)
        return document.elements()[0]

    def escape(self, text: str) -> bytes:
        """An attribute's value as bytes."""
        return escapeAttribute(text).encode()

    def bytesOf(self, transit: Transit) -> bytes:
        """The stanza as a stream gets it."""
        return stanzaBytes(transit)

    # -- presence and rosters --------------------------------------------------------------------

    def subscribe(self, account: Account, transit: Transit) -> None:
        """An outbound subscription stanza."""
        subscribing.send(account, transit)

    def subscription(self, account: Account, transit: Transit) -> None:
        """An inbound subscription stanza."""
        subscribing.receive(account, transit)

    def receivePresence(self, account: Account, transit: Transit) -> None:
        """A presence stanza for an account."""
        presence.incoming(account, transit)

    def pushRoster(self, account: Account) -> None:
        """Tell the interested sessions what changed last in the roster (RFC 6121 2.1.6)."""
        self.fire(hooks.rosterChanged, account, account.rosterVersion)

    def refuses(self, account: Account, who: JID) -> bool:
        """Whether `account` blocks `who`."""
        return self._blockPolicy is not None and self._blockPolicy.refuses(account, who)

    # -- acknowledgements that wait for commits --------------------------------------------------

    def holdAnswer(self, session: Session) -> None:
        """The session owes its peer an ``<a/>`` that must wait."""
        self._held.add(session)
        self._sweepSoon()

    def whenSettled(self, session: Session, limit: float) -> Deferred[None]:
        """Fire when all that the session received is settled, or after `limit` seconds."""
        ledger = session.ledger
        if ledger is None or ledger.settled() == ledger.handled:
            return succeed(None)
        result: Deferred[None] = Deferred()
        self._waitingForSettled.append((session, self.clock.seconds() + limit, result))
        self._sweepSoon()
        return result

    def _sweepSoon(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self.clock.callLater(0.25, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        self._committed(self.store.committed)
        if self._held or self._waitingForSettled:
            self._sweepSoon()

    def _committed(self, committed: int) -> None:
        """More is on stable storage: answer who waits for it."""
        if self._held:
            now = self.clock.seconds()
            self._held = {session for session in self._held if not answerHeld(session, now)}
        if self._waitingForSettled:
            now = self.clock.seconds()
            waiting, self._waitingForSettled = self._waitingForSettled, []
            for entry in waiting:
                session, deadline, result = entry
                ledger = session.ledger
                if ledger is None or ledger.settled() == ledger.handled or now >= deadline:
                    result.callback(None)
                else:
                    self._waitingForSettled.append(entry)

    def forget(self, token: str, session: Session) -> None:
        """A session that could be resumed is gone; its last count stays known for a while."""
        self.resumables.pop(token, None)
        if session.ledger is not None:
            self._former[token] = (session.account.jid.bare, session.ledger.settled())
            while len(self._former) > FORMER_LIMIT:
                self._former.popitem(last=False)

    def formerCount(self, token: str, owner: str) -> int | None:
        """The last count of a session that is gone, for its owner only."""
        jid, count = self._former.get(token, ("", 0))
        return count % (1 << 32) if jid == owner else None

    # -- modules ---------------------------------------------------------------------------------

    def modulesChanged(self, ordered: Iterable[HostModule]) -> None:
        """The set of attached modules is another one: compile the tables (called by the loader)."""
        modules = tuple(ordered)
        self.modules = {module.name: module for module in modules}
        self.table = DispatchTable(modules)
        self.offlinePolicy = self.provider(IOfflinePolicy)
        self._blockPolicy = self.provider(IBlockPolicy)

    def provider(self, interface: type[I]) -> I | None:
        """The module that provides an interface, or None. Look it up when attached, not per stanza."""
        for module in self.modules.values():
            if interface in module.provides:
                return cast("I", module)
        return None

    def providers(self, interface: type[I]) -> list[I]:
        """All modules that provide an interface."""
        return [cast("I", module) for module in self.modules.values() if interface in module.provides]

    def fire(self, point: EventPoint, *args: Any) -> None:
        """Something happened: tell the modules; what goes wrong there is logged."""
        for method in self.table.events.get(point, ()):
            try:
                outcome = method(*args)
            except Exception:
                logIncident(f"a handler of {point.name} failed")
                continue
            if outcome is not None:
                asDeferred(outcome, self.clock).addErrback(
                    lambda failure: log.failure("a handler of {name} failed", failure, name=point.name)
                )

    # -- streams ---------------------------------------------------------------------------------

    def streamFeatures(self, stage: str, stream: IStream) -> list[Element]:
        """`IStreamHost.streamFeatures`."""
        found: list[Element] = []
        for method in self.table.keyed.get((hooks.stream.features, stage), ()):
            outcome = method(stream)
            if isinstance(outcome, Element):
                found.append(outcome)
            elif outcome:
                found.extend(outcome)
        return found

    def preAuth(self, iq: Element, stream: IStream) -> Deferred[Element]:
        """`IStreamHost.preAuth`."""
        children = iq.elements()
        methods = self.table.keyed.get((hooks.stream.preAuth, children[0].ns), ()) if children else ()

        def ask() -> Any:
            if not methods:
                raise StanzaError("not-authorized")
            return methods[0](iq, stream)

        def answered(payload: Element | None) -> Element:
            attrs_ = {"type": "result", "from": self.name, "id": iq.attrs.get("id", "")}
            return Element(ns.CLIENT, "iq", attrs_, *([] if payload is None else [payload]))

        def refused(failure: Any) -> Element:
            error = failure.value
            if not isinstance(error, StanzaError):
                incident = logIncident("an IQ before authentication failed", failure)
                error = StanzaError("internal-server-error", text=f"incident {incident}")
            iq.attrs["to"] = self.name
            reply = errorFor(iq, error)
            assert reply is not None
            return reply

        return maybeDeferred(ask).addCallbacks(answered, refused)

    # -- the end ---------------------------------------------------------------------------------

    def stop(self) -> None:
        """The server stops: end all sessions, so that what they have not taken is stored."""
        self.stopping = True
        for session in self.sessions():
            session.disconnect()
        self.requests.cancelAll()
        self._unsubscribe()
