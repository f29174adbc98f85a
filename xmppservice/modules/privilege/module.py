"""Privileged entities (XEP-0356): a component that acts for accounts, as far as its configuration lets it.

Theory of operation. Rights belong to the component's port and are read from the link that a stanza came by, never from
an address in it. What the component sends is seen here before it is routed; what it says in an account's
name then goes the way of that account's own stanzas, so that every other module treats it as one.
A component that an account has blocked has no rights over that account.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from xmppservice.hub.component import ComponentLink, ComponentPort, portsOver
from xmppservice.hub.contracts.roster import IContactLists
from xmppservice.hub.hooks import ACCOUNT, HANDLED, HOST, Phase, component, iq, presence
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.rights import NONE, NOTHING, Rights
from xmppservice.hub.transit import Transit
from xmppservice.modules.privilege.contacts import ContactPresence
from xmppservice.modules.privilege.encapsulated import readIQ, readMessage
from xmppservice.modules.privilege.permissions import advertisement
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.stanza import errorFor, messageType
from xmppservice.protocol.subscription import FROM, TO
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.host import VirtualHost


class Privilege(HostModule):
    """Lets components use rosters, send messages and IQs for accounts, and see presence."""

    name = "privilege"
    xeps = (XEP(356, "0.4.1"),)
    namespaces = (ns.PRIVILEGE,)

    def __init__(self, host: VirtualHost, options: Any) -> None:
        super().__init__(host, options)
        #: Components that see the presence of our accounts, and those that see their contacts' too.
        self._seeing: list[ComponentPort] = []
        self._seeingContacts: list[ComponentPort] = []
        self._pushed: list[ComponentPort] = []
        self._contacts = ContactPresence(host)

    def attached(self) -> None:
        """Components may be there already."""
        lists = self.host.provider(IContactLists)
        if lists is not None:
            self.addCleanUp(lists.watch(self._push))
        self._sort()
        for port in portsOver(self.host):
            if port.accepting:
                self.onConnected(port)

    # -- whose rights -----------------------------------------------------------------------------------------------

    def _sort(self) -> None:
        everywhere = [port for port in portsOver(self.host, here=False) if port.rights.presence != NONE]
        self._seeing = [port for port in everywhere if self._sees(port)]
        ours = portsOver(self.host)
        self._pushed = [port for port in ours if port.rights.pushes]
        self._seeingContacts = [port for port in ours if port.rights.presence == "roster"]
        if not self._seeingContacts:
            self._contacts.clear()

    def _sees(self, port: ComponentPort) -> bool:
        """Whether presence of our accounts concerns a component: as theirs, or as that of contacts elsewhere."""
        return self.host.name in port.rights.hosts or port.rights.presence == "roster"

    @component.connected
    def onConnected(self, port: ComponentPort) -> None:
        """Tell what is granted (section 4.2), and who is online (section 8 rule 1)."""
        self._advertise(port, port.rights, NOTHING)
        if port.rights.presence != NONE:
            self._introduce(port)

    @component.changed
    def onChanged(self, port: ComponentPort, former: Rights) -> None:
        """Other rights: tell a component that is connected."""
        self._sort()
        if not port.accepting:
            return
        name = self.host.name
        rights, former = (each if name in each.hosts else NOTHING for each in (port.rights, former))
        if advertisement(rights, NOTHING) != advertisement(former, NOTHING):
            self._advertise(port, rights, former)
        if rights.presence not in (NONE, former.presence):
            self._introduce(port)

    def _advertise(self, port: ComponentPort, rights: Rights, former: Rights) -> None:
        privilege = advertisement(rights, former)
        if privilege is not None:
            attrs = {"from": self.host.name, "to": port.name, "id": secrets.token_hex(8)}
            self.host.send(Element(ns.CLIENT, "message", attrs, privilege))

    def _rightsOf(self, transit: Transit) -> Rights:
        origin = transit.origin
        return origin.rightsOver(self.host.name) if isinstance(origin, ComponentLink) else NOTHING

    def _blocks(self, account: Account, port: ComponentPort) -> bool:
        return bool(account.blocks) and self.host.refuses(account, JID.of("", port.name))

    async def _managed(self, transit: Transit, jid: JID) -> Account:
        """The account, if the component may manage it."""
        origin = transit.origin
        assert isinstance(origin, ComponentLink)
        account = await self.host.account(jid.local)
        if account is None or not account.enabled or self._blocks(account, origin.port):
            raise StanzaError("forbidden", text="no account that is managed")
        return account

    # -- rosters (section 4) ----------------------------------------------------------------------------------------

    @component.sending(ns.ROSTER)
    def onRoster(self, transit: Transit) -> Any:
        """A roster get or set on an account (section 4.3)."""
        to = transit.to
        if transit.kind != "iq" or transit.type not in ("get", "set") or not to.local or to.resource:
            return None
        if not self._rightsOf(transit).mayUseRoster(transit.type):
            raise StanzaError("forbidden", text=f"no privilege to {transit.type} rosters")
        return self._roster(transit)

    async def _roster(self, transit: Transit) -> Any:
        transit.host, transit.account = self.host, await self._managed(transit, transit.to)
        lists = self.host.provider(IContactLists)
        if lists is None:
            raise StanzaError("service-unavailable")
        if transit.type == "set":
            return lists.changeFor(transit, transit.sender.domain)
        return await lists.readFor(transit)

    def _push(self, account: Account, query: Element) -> None:
        """A roster has changed (section 4.4)."""
        for port in self._pushed:
            if port.accepting and not self._blocks(account, port):
                attrs = {"from": account.jid.bare, "to": port.name, "type": "set", "id": secrets.token_hex(8)}
                self.host.send(Element(ns.CLIENT, "iq", attrs, query))

    # -- messages and IQs in an account's name (sections 5 and 6) -----------------------------------------------------

    @component.sending(ns.PRIVILEGE)
    def onPrivileged(self, transit: Transit) -> Any:
        """A privileged message (section 5.3) or IQ (section 6.3)."""
        rights = self._rightsOf(transit)
        if transit.kind == "message" and transit.type != "error":
            return self._message(transit, *readMessage(transit, rights))
        if transit.kind == "iq" and transit.type in ("get", "set"):
            inner, to = readIQ(transit, rights)
            return self._iq(transit, inner, to)
        return None

    @iq.get(ns.PRIVILEGE, "privileged_iq", to=HOST | ACCOUNT)
    @iq.set(ns.PRIVILEGE, "privileged_iq", to=HOST | ACCOUNT)
    def onStranger(self, transit: Transit) -> Any:
        """Who is no component of ours has no privileges (section 6.3)."""
        raise StanzaError("forbidden")

    async def _message(self, transit: Transit, message: Element, sender: JID, to: JID) -> Any:
        inner = self._inner(transit, message, sender, to, messageType(message))
        if not sender.local:
            # On behalf of the server itself (section 5.1).
            self.host.router.route(inner)
        else:
            account = await self._managed(transit, sender)
            self._link(transit).speak(account, inner)
        transit.depends(inner.ticket)
        return HANDLED

    async def _iq(self, transit: Transit, iq: Element, to: JID) -> Any:
        account = await self._managed(transit, transit.to)
        link = self._link(transit)
        id = iq.attrs["id"]
        inner = self._inner(transit, iq, transit.to, to, transit.type)
        answer = self.host.requests.send(iq, dispatch=lambda _: link.speak(account, inner))

        def answered(outcome: Any) -> None:
            iq.attrs["id"] = id
            if isinstance(outcome, Element):
                outcome.attrs["id"] = id
            else:
                outcome.trap(StanzaError)
                outcome = errorFor(iq, outcome.value)
            self.host.reply(transit, _wrapped(transit, outcome))

        # The component's other stanzas do not wait for it: who answers may be far away.
        answer.addBoth(answered).addErrback(lambda failure: self.host.refused(transit, failure))
        return HANDLED

    def _inner(self, transit: Transit, stanza: Element, sender: JID, to: JID, type: str) -> Transit:
        stanza.attrs["from"], stanza.attrs["to"] = sender.full, to.full
        return Transit(stanza, transit.kind, type, sender, to, transit.origin, self.host)

    def _link(self, transit: Transit) -> ComponentLink:
        link = transit.origin
        assert isinstance(link, ComponentLink)
        return link

    # -- presence (section 7) -----------------------------------------------------------------------------------------

    @presence.spreading
    def onSpreading(self, account: Account, contacts: list[str]) -> list[str] | None:
        """Presence of one of our accounts: components that see it get it as if it were directed (section 7.1)."""
        if not self._seeing:
            return None
        more = [port.name for port in self._seeing if port.name not in contacts and self._mayLearn(account, port)]
        return contacts + more if more else None

    def _mayLearn(self, account: Account, port: ComponentPort) -> bool:
        """Whether a component sees this account: as managed itself, or as contact of one that is (section 7.4)."""
        if not port.accepting or self._blocks(account, port):
            return False
        hosts = port.rights.hosts
        return self.host.name in hosts or any(
            state & FROM and JID.parse(contact).domain in hosts for contact, state in account.roster.items()
        )

    @presence.receiving(Phase.OBSERVE, types=("", "unavailable"))
    def onPresence(self, transit: Transit) -> None:
        """Presence of a contact elsewhere (section 7.4)."""
        account, sender = transit.account, transit.sender
        if not self._seeingContacts or account is None or self.host.router.isAccount(sender):
            return
        if account.roster.get(sender.bare, 0) & TO and (tail := self._contacts.news(sender, transit)):
            for port in self._seeingContacts:
                if port.accepting and sender.domain != port.name and not self._blocks(account, port):
                    self._contacts.tell(port, sender.full, tail)

    def _introduce(self, port: ComponentPort) -> None:
        """Whoever is online now (section 8 rule 1)."""
        hosts = self.host.router.hosts
        for name in sorted(hosts) if port.rights.presence == "roster" else [self.host.name]:
            for session in hosts[name].sessions():
                # Accounts of another host that is managed too are that one's to introduce.
                if session.available and (name == self.host.name or self._isContact(session.account, port)):
                    if not self._blocks(session.account, port):
                        self.host.router.routeBytes(
                            session, session.address, JID.of("", port.name), session.presence
                        )
        if port.rights.presence == "roster":
            self._contacts.tellAll(port)

    def _isContact(self, account: Account, port: ComponentPort) -> bool:
        ours = "@" + self.host.name
        return account.jid.domain not in port.rights.hosts and any(
            state & FROM and contact.endswith(ours) for contact, state in account.roster.items()
        )


def _wrapped(transit: Transit, answer: Element | None) -> Element:
    """The answer to an encapsulated IQ, as the component gets it (section 6.3, example 11).

    An error is an error outside too, or no client library would see it.
    """
    assert answer is not None
    reply = transit.result(Element(ns.PRIVILEGE, "privilege", None, Element(ns.FORWARD, "forwarded", None, answer)))
    error = answer.find(ns.CLIENT, "error")
    if answer.get("type") == "error" and error is not None:
        reply.attrs["type"] = "error"
        reply.children.append(error)
    return reply
