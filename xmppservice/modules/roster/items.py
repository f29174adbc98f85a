"""Roster items as XML, and what makes one of a client's unacceptable (RFC 6121 2.1.2, 2.3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.protocol.subscription import APPROVED, KNOWN, PENDING_OUT, subscriptionName
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import RosterRow


class WantedItem(NamedTuple):
    """What a client wants done with one contact."""

    jid: JID
    name: str
    groups: tuple[str, ...]
    remove: bool
    subscription: str = ""


def readItem(query: Element, nameLimit: int, groupLimit: int) -> WantedItem:
    """The one item of a roster set.

    `nameLimit` bounds names of contacts and groups in characters, `groupLimit` the groups of one contact.

    :raises StanzaError: bad-request, jid-malformed or not-acceptable.
    """
    items = query.elements()
    if len(items) != 1 or items[0].ns != ns.ROSTER or items[0].name != "item":
        raise StanzaError("bad-request", text="a roster set has exactly one item")
    item = items[0]
    jid = _contact(item.get("jid"))
    name = item.get("name") or ""
    if len(name) > nameLimit:
        raise StanzaError("not-acceptable", text=f"a name has at most {nameLimit} characters")
    groups = tuple(group.text for group in item.findAll(ns.ROSTER, "group"))
    if len(groups) > groupLimit:
        raise StanzaError("not-acceptable", text=f"a contact is in at most {groupLimit} groups")
    if any(not 0 < len(group) <= nameLimit for group in groups):
        raise StanzaError("not-acceptable", text=f"the name of a group has 1 to {nameLimit} characters")
    if len(set(groups)) != len(groups):
        raise StanzaError("bad-request", text="the contact is twice in the same group")
    subscription = item.get("subscription") or ""
    return WantedItem(jid, name, groups, subscription == "remove", subscription)


def _contact(text: str | None) -> JID:
    if text is None:
        raise StanzaError("bad-request", text="a roster item needs a jid")
    try:
        return JID.parse(text).bareJID
    except InvalidJID:
        raise StanzaError("jid-malformed", text=f"the jid of the roster item is not valid: {text[:100]!a}") from None


def itemOf(row: RosterRow) -> Element:
    """The item as clients see it; what is not (or no longer) in the roster as ``subscription='remove'``."""
    attrs = {"jid": row.jid}
    if row.removed or not row.state & KNOWN:
        attrs["subscription"] = "remove"
        return Element(ns.ROSTER, "item", attrs)
    if row.name:
        attrs["name"] = row.name
    attrs["subscription"] = subscriptionName(row.state)
    if row.state & PENDING_OUT:
        attrs["ask"] = "subscribe"
    if row.state & APPROVED:
        attrs["approved"] = "true"
    item = Element(ns.ROSTER, "item", attrs)
    for group in row.groups:
        item.child(ns.ROSTER, "group", text=group)
    return item
