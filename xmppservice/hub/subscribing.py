"""Subscription stanzas on both sides (RFC 6121 section 3, Appendix A).

The tables of `protocol.subscription` say what becomes of the state and of the stanza; this
file carries it out: state to the storage, pushes to interested sessions, the stanza onwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmppservice.hub import presence
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.subscription import FROM, KNOWN, PENDING_IN, inbound, outbound
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.transit import Transit
    from xmppservice.protocol.jid import JID

#: Deliveries that a request to a new contact is charged as: a flood of them bothers many people (hardening V14).
REQUEST_COST = 50


def send(account: Account, transit: Transit) -> None:
    """A subscription stanza of our own user (A.2)."""
    contact = transit.to.bareJID
    if contact == account.jid:
        return
    if not account.id:
        raise StanzaError("not-allowed", text="guests have no contacts")
    stanza = transit.stanza
    stanza.attrs["from"] = account.jid.bare
    stanza.attrs["to"] = contact.bare
    transit.sender, transit.to = account.jid, contact
    before = account.roster.get(contact.bare, 0)
    after = outbound(before, transit.type)
    if transit.type == "subscribe" and not before and transit.origin is not None and transit.origin.stream is not None:
        transit.origin.stream.charge(REQUEST_COST)
    transit.depends(_store(account, contact, before, after.state))
    if after.push:
        account.host.pushRoster(account)
    gained, lost = after.state & ~before & FROM, before & ~after.state & FROM
    if lost:
        # While the contact still listens (3.2.2).
        presence.introduce(account, contact, False)
    if after.route:
        account.host.router.route(transit)
    if gained:
        presence.introduce(account, contact, True)


def receive(account: Account, transit: Transit) -> None:
    """A subscription stanza from a contact (A.3)."""
    contact = transit.sender.bareJID
    if not account.id:
        # A guest's contacts could not be told when the guest is gone for ever (XEP-0175 3).
        if transit.type == "subscribe":
            account.host.send(presence.plain("unsubscribed", account.jid.bare, contact.bare))
        return
    stanza = transit.stanza
    stanza.attrs["from"], stanza.attrs["to"] = contact.bare, account.jid.bare
    before = account.roster.get(contact.bare, 0)
    after = inbound(before, transit.type)
    request = None
    if after.state & PENDING_IN and not before & PENDING_IN:
        request = serialize(stanza)
    transit.depends(_store(account, contact, before, after.state, request))
    if after.deliver:
        data = serialize(stanza)
        for session in list(account.sessions.values()):
            # Requests go to available sessions (3.1.3), the rest to whoever has the roster.
            if session.available if transit.type == "subscribe" else session.interested or session.available:
                session.deliver(data)
    if after.push:
        account.host.pushRoster(account)
    if after.reply is not None:
        account.host.send(presence.plain(after.reply, account.jid.bare, contact.bare))
    if (before ^ after.state) & FROM:
        presence.introduce(account, contact, bool(after.state & FROM))


def _store(account: Account, contact: JID, before: int, after: int, request: bytes | None = None) -> int:
    """Keep a changed state; returns the ticket, 0 for no change."""
    if after == before:
        return 0
    if not after & (KNOWN | PENDING_IN):
        after = 0
    return account.setState(contact.bare, after, request)
