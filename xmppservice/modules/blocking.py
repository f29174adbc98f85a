"""Blocking (XEP-0191): an account hears nothing from the addresses it blocks, and sends them nothing.

The list is a fact of the account, in memory while the account is, so an account that blocks nobody
pays for one look at an empty set.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import attrs
from zope.interface import implementer

from xmppservice.hub import presence as presences
from xmppservice.hub.contracts.delivery import IBlockPolicy
from xmppservice.hub.hooks import ACCOUNT, HANDLED, Phase, iq, message, presence
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import option
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.protocol.subscription import FROM, TO
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import escapeAttribute, serialize

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.session import Session
    from xmppservice.hub.transit import Transit

#: Set in a session's notes once it has asked for the list.
_ASKED = "blocking.asked"

_UNAVAILABLE = b" type='unavailable'></presence>"


@implementer(IBlockPolicy)
class Blocking(HostModule):
    """Keeps the block lists and enforces them on both sides."""

    name = "blocking"
    xeps = (XEP(191, "1.3"),)
    features = (ns.BLOCKING,)
    namespaces = (ns.BLOCKING, ns.BLOCKING_ERRORS)
    provides = (IBlockPolicy,)

    @attrs.frozen
    class Options:
        """Bounds of one account's block list."""

        limit: int = option(1000, "Addresses that one account can block.", range=(1, 100_000))

    # -- the policy --------------------------------------------------------------------------------

    def refuses(self, account: Account, who: object) -> bool:
        """`IBlockPolicy.refuses`, by the matching of section 6.

        Neither the account's own resources nor its server can be blocked: a client needs both.
        """
        assert isinstance(who, JID)
        blocks = account.blocks
        if who.bare not in blocks and who.domain not in blocks and who.full not in blocks:
            return False
        return who.bare != account.jid.bare and who.full != self.host.name

    @message.receiving(Phase.POLICY)
    def onMessage(self, transit: Transit) -> object:
        """A message from a blocked address: an error where unknown accounts give one (3.3)."""
        account = transit.account
        if account is None or not account.blocks or not self.refuses(account, transit.sender):
            return None
        if transit.type in ("normal", "chat", "groupchat"):
            raise StanzaError("service-unavailable")
        return HANDLED

    @iq.receiving(Phase.POLICY)
    def onIQ(self, transit: Transit) -> object:
        """An IQ from a blocked address: requests are refused, answers dropped (3.3)."""
        account = transit.account
        if account is None or not account.blocks or not self.refuses(account, transit.sender):
            return None
        if transit.type in ("get", "set"):
            raise StanzaError("service-unavailable")
        return HANDLED

    @presence.receiving(Phase.POLICY)
    def onPresence(self, transit: Transit) -> object:
        """Presence from a blocked address vanishes, requests and probes too (3.3)."""
        account = transit.account
        if account is not None and account.blocks and self.refuses(account, transit.sender):
            return HANDLED
        return None

    @message.sending(Phase.POLICY)
    @iq.sending(Phase.POLICY)
    @presence.sending(Phase.POLICY)
    def onSending(self, transit: Transit) -> None:
        """A stanza to a blocked address: its sender is told why it does not go (3.3)."""
        account = transit.account
        if account is not None and account.blocks and self.refuses(account, transit.to):
            raise StanzaError("not-acceptable", type="cancel", app=Element(ns.BLOCKING_ERRORS, "blocked"))

    @presence.spreading
    def onSpreading(self, account: Account, contacts: list[str]) -> list[str] | None:
        """Presence does not spread to blocked contacts."""
        if not account.blocks:
            return None
        return [contact for contact in contacts if not self.refuses(account, JID.parse(contact))]

    # -- the list ----------------------------------------------------------------------------------

    @iq.get(ns.BLOCKING, "blocklist", to=ACCOUNT, access="owner")
    def onGet(self, transit: Transit) -> Element:
        """The whole list (3.2); from now on the session gets pushes."""
        session, account = transit.session, transit.account
        assert account is not None
        if session is not None:
            if session.notes is None:
                session.notes = {}
            session.notes[_ASKED] = True
        return transit.result(Element(ns.BLOCKING, "blocklist", None, *_items(sorted(account.blocks))))

    @iq.set(ns.BLOCKING, "block", to=ACCOUNT, access="owner")
    def onBlock(self, transit: Transit) -> object:
        """Block addresses (3.3)."""
        account, payload = transit.account, transit.payload
        assert account is not None and payload is not None
        if not account.id:
            raise StanzaError("not-allowed", text="guests have no block list")
        wanted = _readItems(payload)
        if not wanted:
            raise StanzaError("bad-request", text="nobody to block")
        new = [jid for jid in wanted if jid not in account.blocks]
        if len(account.blocks) + len(new) > self.options.limit:
            raise StanzaError("not-allowed", text=f"a block list holds {self.options.limit} addresses")
        affected = self._affected(account, new)
        self._farewell(account, affected)
        account.blocks |= frozenset(new)
        return self._change(
            transit, Element(ns.BLOCKING, "block", None, *_items(wanted)),
            lambda failed: self.host.services.blocks.add(account.id, new, failed),
        )

    @iq.set(ns.BLOCKING, "unblock", to=ACCOUNT, access="owner")
    def onUnblock(self, transit: Transit) -> object:
        """Unblock some addresses (3.4) or all (3.5)."""
        account, payload = transit.account, transit.payload
        assert account is not None and payload is not None
        wanted = _readItems(payload)
        former = account.blocks
        gone = [jid for jid in wanted if jid in former] if wanted else sorted(former)
        account.blocks = former - frozenset(gone)
        outcome = self._change(
            transit, Element(ns.BLOCKING, "unblock", None, *_items(wanted)),
            lambda failed: self.host.services.blocks.remove(account.id, gone, failed),
        )
        self._welcome(account, former, gone)
        return outcome

    def _change(
        self, transit: Transit, pushed: Element, write: Callable[[Callable[[Exception], None]], int]
    ) -> object:
        """Store a change; the result and the pushes go out when it is committed."""
        account = transit.account
        assert account is not None
        failures: list[Exception] = []
        ticket = write(failures.append)
        account.wrote(ticket)
        transit.depends(ticket)

        def done(_: object) -> None:
            if failures:
                self.host.reloadFacts(account)
                error = StanzaError("internal-server-error", type="wait", text="the list was not changed")
                self.host.bounce(transit, error)
                return
            self.host.reply(transit, transit.result())
            self._push(account, serialize(pushed))

        self.host.store.whenCommitted(ticket).addCallbacks(
            done, lambda failure: self.host.bounce(transit, failure.value)
        )
        return HANDLED

    def _push(self, account: Account, payload: bytes) -> None:
        """Tell the sessions that have asked for the list."""
        for session in list(account.sessions.values()):
            if session.notes is not None and _ASKED in session.notes:
                to = escapeAttribute(session.jid.full)
                head = f"<iq type='set' id='block-{secrets.token_hex(4)}' to='{to}'>"
                session.deliver(head.encode() + payload + b"</iq>")

    # -- presence of those who are blocked and unblocked ---------------------------------------------

    def _affected(self, account: Account, jids: Iterable[str]) -> list[JID]:
        """Who of those that may see the account's presence is named by `jids` and not blocked yet."""
        named = frozenset(jids)
        sees = {contact for contact, state in account.roster.items() if state & FROM}
        for session in account.sessions.values():
            sees.update(address for address in session.directed or () if not _subscribed(account, address))
        # A blocked resource of a subscriber sees the presence as part of its bare JID.
        sees.update(jid for jid in named if _subscribed(account, jid))
        found = (JID.parse(address) for address in sorted(sees))
        return [
            jid
            for jid in found
            if {jid.full, jid.bare, jid.domain} & named and jid.bare != account.jid.bare
            and not self.refuses(account, jid)
        ]

    def _farewell(self, account: Account, contacts: Iterable[JID]) -> None:
        """Whoever is being blocked sees the account go offline (3.3)."""
        for contact in contacts:
            for session in account.sessions.values():
                directed = session.directed is not None and contact.full in session.directed
                if directed and session.directed is not None:
                    session.directed.discard(contact.full)
                if directed or (session.available and _subscribed(account, contact.bare)):
                    self.host.router.routeBytes(session, _address(session), contact, _UNAVAILABLE)

    def _welcome(self, account: Account, former: frozenset[str], gone: Iterable[str]) -> None:
        """Subscribers that are no longer blocked see the account again, and are asked for theirs (3.4)."""
        named = frozenset(gone)
        for contact, state in list(account.roster.items()):
            jid = JID.parse(contact)
            resources = [JID.parse(text) for text in named if text.startswith(contact + "/")]
            if not {jid.bare, jid.domain} & named and not resources:
                continue
            if self.refuses(account, jid):
                continue
            if state & FROM:
                for target in [jid] if {jid.bare, jid.domain} & named else resources:
                    presences.introduce(account, target, True)
            if state & TO and any(session.available for session in account.sessions.values()):
                self.host.router.probe(account, jid)


def _subscribed(account: Account, address: str) -> bool:
    return bool(account.roster.get(JID.parse(address).bare, 0) & FROM)


def _address(session: Session) -> bytes:
    return session.address or b"<presence from='" + escapeAttribute(session.jid.full).encode() + b"' to='"


def _items(jids: Iterable[str]) -> list[Element]:
    return [Element(ns.BLOCKING, "item", {"jid": jid}) for jid in jids]


def _readItems(payload: Element) -> list[str]:
    """The addresses of a command, in normal form, each once.

    :raises StanzaError: bad-request, jid-malformed.
    """
    found: dict[str, None] = {}
    for item in payload.elements():
        text = item.get("jid")
        if item.ns != ns.BLOCKING or item.name != "item" or text is None:
            raise StanzaError("bad-request", text="a block list consists of items with a jid")
        try:
            found[JID.parse(text).full] = None
        except InvalidJID:
            raise StanzaError("jid-malformed", text=f"not a valid address: {text[:100]!a}") from None
    return list(found)
