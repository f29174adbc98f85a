"""Presence (RFC 6121 sections 3 and 4): broadcast, probes, directed presence, subscriptions.

Theory of operation. Available presence is kept per session as the bytes behind the addresses,
so that a broadcast costs one start tag per contact and a probe costs nothing but that either.
Contacts on this server are reached by their accounts, directly; a contact that is not loaded
has no session, so there is nobody to tell. Contacts elsewhere get a stanza through the router.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from xmppservice.hub import hooks
from xmppservice.hub.hooks import HANDLED
from xmppservice.hub.passage import logIncident, run
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.stanza import SUBSCRIPTION_TYPES, priorityOf
from xmppservice.protocol.subscription import FROM, PENDING_IN, TO
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import escapeAttribute, innerBytes

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.session import Session

#: How many addresses a session remembers having sent directed presence to (section 4.6).
DIRECTED_LIMIT = 1000

_AVAILABLE = b"></presence>"
_UNAVAILABLE = b" type='unavailable'></presence>"


# -- outgoing --------------------------------------------------------------------------------------


def outgoing(session: Session, transit: Transit) -> None:
    """A presence stanza from one of our sessions."""
    account = session.account
    transit.account = account
    host = account.host
    chain = host.table.sending["presence"].before[transit.type]
    outcome = None if chain.empty else run(transit, chain.steps(transit.stanza), host.clock)
    if outcome is None:
        _pass(session, transit)
    elif isinstance(outcome, Deferred):
        session.hold(transit)
        outcome.addCallback(lambda result: None if result is HANDLED else _pass(session, transit))
        outcome.addErrback(lambda failure: host.refused(transit, failure))
        outcome.addBoth(lambda _: session.release(transit))
    elif outcome is not HANDLED:
        host.reply(transit, outcome)


def _pass(session: Session, transit: Transit) -> None:
    type, stanza = transit.type, transit.stanza
    if session.ended and type not in SUBSCRIPTION_TYPES:
        # It waited behind something while its session ended; nobody would ever take it back.
        return
    if type in SUBSCRIPTION_TYPES:
        if stanza.attrs.get("to") is None:
            raise StanzaError("bad-request", text=f"presence of type {type} needs a 'to'")
        session.account.host.subscribe(session.account, transit)
    elif type == "probe":
        stanza.attrs["from"] = session.jid.bare
        transit.sender = session.account.jid
        session.account.host.router.route(transit)
    elif "to" in stanza.attrs:
        _directed(session, transit)
    elif type == "error":
        raise StanzaError("bad-request", text="presence of type error needs a 'to'")
    else:
        _broadcast(session, stanza, type)


def _directed(session: Session, transit: Transit) -> None:
    """Directed presence (section 4.6): remembered, so that it can be taken back."""
    if transit.type == "" or transit.type == "unavailable":
        _remember(session, transit.to.full, transit.type == "")
    session.account.host.router.route(transit)


def _remember(session: Session, to: str, available: bool) -> None:
    directed = session.directed
    if not available:
        if directed is not None:
            directed.discard(to)
        return
    if directed is None:
        directed = session.directed = set()
    if len(directed) >= DIRECTED_LIMIT and to not in directed:
        raise StanzaError("resource-constraint", text=f"directed presence to more than {DIRECTED_LIMIT} addresses")
    directed.add(to)


def _tail(stanza: Element, type: str) -> bytes:
    """What stands behind the addresses: the other attributes and the content."""
    parts = [
        f" {'xml:lang' if key == _LANG else key}='{escapeAttribute(value)}'"
        for key, value in stanza.attrs.items()
        if key in ("id", _LANG)
    ]
    if type:
        parts.append(f" type='{type}'")
    return "".join(parts).encode() + b">" + innerBytes(stanza) + b"</presence>"


_LANG = ns.XML + " lang"


def _broadcast(session: Session, stanza: Element, type: str) -> None:
    """Presence without ``to`` (sections 4.2, 4.4, 4.5)."""
    if type == "unavailable":
        tail = _tail(stanza, type)
        # The session that sends it gets it too (4.5.2), so it goes out first.
        _tell(session, tail)
        _becomeUnavailable(session, tail)
        return
    priority = priorityOf(stanza)
    initial = not session.available
    receptive = initial or session.priority < 0
    if not session.address:
        session.address = _head(session)
    session.presence = _tail(stanza, type)
    session.available, session.priority = True, priority
    _tell(session, session.presence)
    if initial:
        _begin(session)
    if priority >= 0 and receptive:
        session.account.host.fire(hooks.session.available, session)


def _tell(session: Session, tail: bytes) -> None:
    """Send presence to the subscribers and to the account's own available sessions."""
    account = session.account
    if not session.address or not session.available:
        return
    head = session.address
    own = head + account.address + b"'" + tail
    for other in list(account.sessions.values()):
        if other.available:
            other.deliver(own)
    contacts = subscribers(account)
    _charge(session, len(contacts))
    fanOut(session, head, tail, contacts)


def _head(session: Session) -> bytes:
    """What stands before the addressee in presence of this session."""
    return session.address or b"<presence from='" + escapeAttribute(session.jid.full).encode() + b"' to='"


def _charge(session: Session, deliveries: int) -> None:
    """What one stanza causes for many is charged to its sender (hardening R17)."""
    if session.stream is not None and deliveries:
        session.stream.charge(deliveries)


def subscribers(account: Account) -> Collection[str]:
    """The bare JIDs that get this account's presence, after modules had their say; nobody if one of them fails."""
    contacts: list[str] = [jid for jid, state in account.roster.items() if state & FROM]
    for method in account.host.table.events.get(hooks.presence.spreading, ()):
        try:
            chosen = method(account, contacts)
        except Exception:
            logIncident("nobody can say to whom presence may spread")
            return ()
        if chosen is not None:
            contacts = chosen
    return contacts


def fanOut(session: Session, head: bytes, tail: bytes, contacts: Iterable[str]) -> None:
    """Presence of `session` to many contacts: `head`, the contact's address, `tail`."""
    account = session.account
    router = account.host.router
    parse = JID.parse
    accountOf = router.onlineAccount
    for contact in contacts:
        jid = parse(contact)
        local = accountOf(jid)
        if local is None:
            if not router.isAccount(jid):
                router.routeBytes(session, head, jid, tail)
            continue
        if local.blocks and local.host.refuses(local, session.jid):
            continue
        data = head + local.address + b"'" + tail
        # A copy, here and below: a session whose queue overflows leaves the dict.
        for other in list(local.sessions.values()):
            if other.available:
                other.deliver(data)


def _begin(session: Session) -> None:
    """Initial presence: learn the presence of others (4.2.2, 4.3.1) and of requests that wait (3.1.3)."""
    account = session.account
    for other in list(account.sessions.values()):
        if other is not session and other.available:
            session.deliver(other.address + account.address + b"'" + other.presence)
    router = account.host.router
    _charge(session, len(account.roster))
    for contact, state in account.roster.items():
        if not state & TO:
            continue
        jid = JID.parse(contact)
        if account.blocks and account.host.refuses(account, jid):
            continue
        local = router.onlineAccount(jid)
        if local is None:
            if not router.isAccount(jid):
                router.probe(account, jid)
        elif local.roster.get(account.jid.bare, 0) & FROM and not (
            local.blocks and local.host.refuses(local, account.jid)
        ):
            for other in list(local.sessions.values()):
                if other.available and not (account.blocks and account.host.refuses(account, other.jid)):
                    session.deliver(other.address + account.address + b"'" + other.presence)
    if any(state & PENDING_IN for state in account.roster.values()):
        account.host.rosters.requests(account.id, account.ticket).addCallback(_requests, session)


def _requests(rows: list[tuple[str, bytes]], session: Session) -> None:
    """Subscription requests that nobody has answered yet, to a session that just came."""
    account = session.account
    for contact, data in rows:
        if session.ended or not account.roster.get(contact, 0) & PENDING_IN:
            continue
        if not (account.blocks and account.host.refuses(account, JID.parse(contact))):
            session.deliver(data)


def _becomeUnavailable(session: Session, tail: bytes) -> None:
    session.available, session.priority, session.presence = False, 0, b""
    directed, session.directed = session.directed, None
    account = session.account
    if directed:
        _takeBack(session, tail, directed)
    account.host.fire(hooks.session.unavailable, session)


def _takeBack(session: Session, tail: bytes, directed: set[str]) -> None:
    """Those who had directed presence and are no subscribers learn that it is over (4.6.3)."""
    account, head = session.account, _head(session)
    _charge(session, len(directed))
    for address in directed:
        jid = JID.parse(address)
        if not account.roster.get(jid.bare, 0) & FROM:
            account.host.router.routeBytes(session, head, jid, tail)


def vanished(session: Session) -> None:
    """The session ended without saying so: unavailable presence on its behalf (4.5.2)."""
    if session.available or session.directed:
        _tell(session, _UNAVAILABLE)
        _becomeUnavailable(session, _UNAVAILABLE)


def leave(session: Session, reaches: Callable[[str], bool]) -> None:
    """Other servers are about to lose us: their users who see this session learn that it is gone. `reaches` says
    whether a domain is one that can still be told."""
    router, head = session.account.host.router, _head(session)
    seeing = {*(subscribers(session.account) if session.available else ()), *(session.directed or ())}
    for jid in map(JID.parse, seeing):
        if reaches(jid.domain):
            router.routeBytes(session, head, jid, _UNAVAILABLE)


# -- incoming --------------------------------------------------------------------------------------


def incoming(account: Account, transit: Transit) -> None:
    """A presence stanza for a local account (8.5.2.1.2, 8.5.3)."""
    type, to = transit.type, transit.to
    if type in SUBSCRIPTION_TYPES:
        # Only requests count when no resource matches (8.5.3.2.2).
        if not to.resource or type == "subscribe" or to.resource in account.sessions:
            account.host.subscription(account, transit)
    elif type == "probe":
        _probed(account, transit)
    else:
        _notified(account, transit)


def _notified(account: Account, transit: Transit) -> None:
    """Availability, or an error, from somebody else."""
    type, resource = transit.type, transit.to.resource
    if resource:
        exact = account.sessions.get(resource)
        reached = [] if exact is None else [exact]
    elif type == "error" and not account.roster.get(transit.sender.bare, 0) & FROM:
        # Who gets our presence may say that it failed: so a gateway tells why it cannot log in (XEP-0100 4.4.2).
        reached = []
    else:
        reached = [session for session in account.sessions.values() if session.available]
    if not reached:
        return
    data = account.host.bytesOf(transit)
    for session in reached:
        if type == "unavailable" and session.directed is not None:
            # Who went away need not be told that we do (4.6.1).
            session.directed.discard(transit.sender.full)
        session.deliver(data)


def _probed(account: Account, transit: Transit) -> None:
    """Answer a presence probe (4.3.2, 4.6.6)."""
    who, to = transit.sender, transit.to
    host = account.host
    if account.blocks and host.refuses(account, who):
        return
    sessions = [session for session in account.sessions.values() if to.resource in ("", session.resource)]
    if who.bare == account.jid.bare or account.roster.get(who.bare, 0) & FROM:
        sessions, otherwise = [session for session in sessions if session.available], "unavailable"
        # Who asks for one resource learns only that it is there.
        mere = bool(to.resource)
    else:
        # Directed presence shows the resource that sent it, no other, and no details.
        sessions, otherwise = [session for session in sessions if session.showsItself(who)], "unsubscribed"
        mere = True
    for session in sessions:
        host.router.routeBytes(session, _head(session), who, _AVAILABLE if mere else session.presence)
    if not sessions and (not to.resource or otherwise == "unsubscribed"):
        host.send(plain(otherwise, account.jid.bare, who.bare, transit.stanza.get("id")))


def plain(type: str, sender: str, to: str, id: str | None = None) -> Element:
    """Presence without content, from the server on somebody's behalf."""
    attrs = {"from": sender, "to": to, "type": type}
    if id is not None:
        attrs["id"] = id
    return Element(ns.CLIENT, "presence", attrs)


def introduce(account: Account, contact: JID, available: bool) -> None:
    """A contact became a subscriber, or ceased to be: it learns of our sessions (3.1.5, 3.2.2, 3.3.3)."""
    for session in list(account.sessions.values()):
        if session.available:
            tail = session.presence if available else _UNAVAILABLE
            account.host.router.routeBytes(session, session.address, contact, tail)
