"""The stanzas inside privileged ones, and what makes one of them unacceptable (XEP-0356 sections 5.1 and 6.3)."""

from __future__ import annotations

from xmppservice.hub.rights import Rights
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.protocol.stanza import checkIQ
from xmppservice.wire import ns
from xmppservice.wire.element import Element


def readMessage(transit: Transit, rights: Rights) -> tuple[Element, JID, JID]:
    """The message inside a privileged one, with its sender and recipient; only its form has been checked."""
    host = transit.to
    if rights.message != "outgoing" or host.local or host.resource:
        raise _forbidden("no privilege to send messages for this address")
    payload = transit.payload
    forwarded = None if payload is None else payload.find(ns.FORWARD, "forwarded")
    message = None if forwarded is None else forwarded.find(ns.CLIENT, "message")
    if payload is None or payload.name != "privilege" or message is None:
        raise StanzaError("bad-request", text="a privileged message has <privilege><forwarded><message xmlns=…")
    sender = _sender(message)
    if sender.domain != host.domain or sender.resource:
        raise _forbidden("the inner 'from' is no bare address of this host")
    return message, sender, _recipient(message, sender)


def readIQ(transit: Transit, rights: Rights) -> tuple[Element, JID]:
    """The IQ inside a privileged one, with its recipient; its sender is ``transit.to``."""
    account, outer = transit.to, transit.payload
    if outer is None or outer.name != "privileged_iq" or not account.local or account.resource:
        raise _forbidden("a privileged IQ goes to the bare address of an account")
    children = outer.elements()
    if len(children) != 1 or children[0].name != "iq":
        raise StanzaError("bad-request", text="a privileged IQ holds exactly one IQ")
    [iq] = children
    if iq.ns != ns.CLIENT:
        raise _forbidden("the inner IQ is not in the namespace jabber:client")
    if iq.get("type") != transit.type:
        raise _forbidden("the inner IQ is not of the same type as the outer one")
    if "from" in iq.attrs and _sender(iq) != account:
        raise _forbidden("the inner 'from' is not the account")
    checkIQ(iq)
    [payload] = iq.elements()
    if not rights.maySendIQ(payload.ns, transit.type):
        raise _forbidden(f"no privilege to send IQs of this type with {payload.ns[:200]}")
    return iq, _recipient(iq, account)


def _sender(stanza: Element) -> JID:
    try:
        return JID.parse(stanza.attrs.get("from", ""))
    except InvalidJID:
        raise _forbidden("the inner 'from' is no address") from None


def _recipient(stanza: Element, sender: JID) -> JID:
    """Without 'to' it is the sender's own account, as for a client (RFC 6120 10.3)."""
    try:
        return JID.parse(stanza.attrs["to"]) if "to" in stanza.attrs else sender
    except InvalidJID:
        raise StanzaError("jid-malformed", text="the inner 'to' is no address") from None


def _forbidden(text: str) -> StanzaError:
    return StanzaError("forbidden", text=text)
