"""The router: one dict look-up on the domain of ``to`` decides where a stanza goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred

from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.contracts.delivery import IPort
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.session import Session
    from xmppservice.hub.transit import Transit


class Router:
    """Where stanzas meet. `destinations` maps every domain that is ours to its owner.

    `remote` takes what is for other domains; without federation they do not exist.
    """

    def __init__(self) -> None:
        self.destinations: dict[str, IPort] = {}
        self.hosts: dict[str, VirtualHost] = {}
        self.remote: Callable[[Transit], Any] | None = None

    def addHost(self, host: VirtualHost) -> None:
        """From now on the host gets the stanzas for its domain."""
        self.hosts[host.name] = host
        self.destinations[host.name] = cast("IPort", host)

    def removeHost(self, host: VirtualHost) -> None:
        """Undo `addHost`."""
        self.hosts.pop(host.name, None)
        self.destinations.pop(host.name, None)

    def route(self, transit: Transit) -> None:
        """Pass the stanza to the owner of the domain; raises StanzaError if that refuses it."""
        target = self.destinations.get(transit.to.domain)
        if target is None:
            if self.remote is None:
                raise StanzaError("remote-server-not-found")
            self.remote(transit)
        elif not target.accepting:
            raise StanzaError("service-unavailable", type="wait")
        else:
            outcome = target.deliver(transit)
            if outcome is not None:
                self._waitFor(outcome, transit)

    def _waitFor(self, outcome: Deferred[None], transit: Transit) -> None:
        origin = transit.origin
        if origin is not None:
            # It counts among what its stream waits for, so that a flood of such stanzas is not read.
            origin.hold(transit)
        else:
            transit.park()
        outcome.addErrback(lambda failure: transit.host.refused(transit, failure))
        outcome.addBoth(lambda _: transit.finish() if origin is None else origin.release(transit))

    def homeOf(self, domain: str) -> VirtualHost:
        """The virtual host that a domain is, or is below, else the first: it looks at what comes from there."""
        parent = domain
        while parent:
            if parent in self.hosts:
                return self.hosts[parent]
            parent = parent.partition(".")[2]
        return next(iter(self.hosts.values()))

    def isAccount(self, jid: JID) -> bool:
        """Whether the address would be an account of one of our hosts."""
        return jid.domain in self.hosts and jid.local != ""

    def onlineAccount(self, jid: JID) -> Account | None:
        """The local account of an address if it has sessions."""
        host = self.hosts.get(jid.domain)
        if host is None:
            return None
        account = host.accounts.known.get(jid.local)
        return account if account is not None and account.sessions else None

    def routeBytes(self, sender: Session, head: bytes, to: JID, tail: bytes) -> None:
        """Presence of a session, made of bytes, for one address anywhere: local sessions get the
        bytes as they are, the rest a stanza."""
        host = sender.account.host
        if not self.isAccount(to):
            host.send(host.parse(head + host.escape(to.full) + b"'" + tail))
            return
        local = self.onlineAccount(to)
        if local is None:
            return
        if local.blocks and local.host.refuses(local, sender.jid):
            return
        address = local.address if not to.resource else host.escape(to.full)
        data = head + address + b"'" + tail
        for session in list(local.sessions.values()):
            if session.resource == to.resource or (not to.resource and session.available):
                session.deliver(data)

    def probe(self, account: Account, contact: JID) -> None:
        """Ask another server for a contact's presence (RFC 6121 4.3.1)."""
        attrs = {"from": account.jid.bare, "to": contact.bare, "type": "probe"}
        account.host.send(Element(ns.CLIENT, "presence", attrs))
