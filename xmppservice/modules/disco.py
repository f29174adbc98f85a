"""Service discovery (XEP-0030) with extended information (XEP-0128)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from zope.interface import implementer

from xmppservice.hub.contracts.disco import IDiscoNodes, IHostInfo, INesting
from xmppservice.hub.hooks import ACCOUNT, HANDLED, HOST, iq
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import option
from xmppservice.hub.rights import REMAINING_INFO, REMAINING_ITEMS
from xmppservice.hub.transit import Transit
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.wire import ns
from xmppservice.wire.element import Element

#: Longer node names than this exist nowhere on this server.
NODE_LIMIT = 1024


@implementer(IHostInfo)
class Disco(HostModule):
    """Says what the host and its accounts are, what they can do, and which services there are.

    Requests to the address of an account are for its owner and for who gets its presence. All
    others get the error that an address without account gives (section 8; RFC 6121 8.5.1), for
    disco#items too, so that neither of the two requests tells which accounts exist.
    """

    name = "disco"
    xeps = (XEP(30, "2.5.0"), XEP(128, "1.0.1"))
    features = (ns.DISCO_INFO, ns.DISCO_ITEMS)
    accountFeatures = (ns.DISCO_INFO, ns.DISCO_ITEMS)
    namespaces = (ns.DISCO_INFO, ns.DISCO_ITEMS)
    provides = (IHostInfo,)

    @attrs.frozen
    class Options:
        """The host's name, and services beyond those of this server."""

        title: str = option("xmppservice", "Name of the service as clients show it.", range=(0, 200))
        services: tuple[str, ...] = option(
            (), "Addresses of further services to list, such as those of another server.", range=(0, 100)
        )

    def attached(self) -> None:
        """Nothing is collected yet: that happens when somebody asks."""
        self._services = [JID.parse(address).full for address in self.options.services]
        self._table: object = None
        self._nesting: INesting | None = None
        self._version = 0
        self._host: Element = Element(ns.DISCO_INFO, "query")
        self._account: Element = self._host
        self._guest: Element = self._host

    # -- info ------------------------------------------------------------------------------------

    def hostInfo(self) -> Element:
        """See `IHostInfo.hostInfo`."""
        self._refresh()
        return self._host

    def _refresh(self) -> None:
        """Collect anew if the set of modules has changed (then the host has another table), or what components say."""
        nesting = self._nesting
        if self._table is self.host.table and (nesting is None or nesting.version == self._version):
            return
        self._table = self.host.table
        nesting = self._nesting = self.host.provider(INesting)
        modules = list(self.host.modules.values())
        if nesting is not None:
            self._version = nesting.version
            modules = [module for module in modules if not nesting.replaces(module.namespaces)]
        identities = [("server", "im", self.options.title), *(each for m in modules for each in m.identities)]
        self._host = _info(identities, (feature for m in modules for feature in m.features))
        self._host.children += [form for m in modules for form in m.discoExtensions()]
        features = (feature for m in modules for feature in m.accountFeatures)
        self._account = _info([("account", "registered", "")], features)
        self._guest = _info([("account", "anonymous", "")], ())
        if nesting is not None:
            _nest(self._host, nesting.nested(account=False))
            _nest(self._account, nesting.nested(account=True))

    @iq.get(ns.DISCO_INFO, "query", to=HOST)
    def onHostInfo(self, transit: Transit) -> Any:
        """What the host is (section 3)."""
        self._refresh()
        return self._answerInfo(transit, self._host)

    @iq.get(ns.DISCO_INFO, "query", to=ACCOUNT, access="subscribers")
    def onAccountInfo(self, transit: Transit) -> Any:
        """What an account is; the server answers for it (section 3.1)."""
        self._refresh()
        account = transit.account
        return self._answerInfo(transit, self._account if account is not None and account.id else self._guest)

    def _answerInfo(self, transit: Transit, info: Element) -> Any:
        node = _node(transit)
        if not node:
            return transit.result(Element(ns.DISCO_INFO, "query", None, *info.children))
        return self._answerNode(transit, node)

    async def _answerNode(self, transit: Transit, node: str) -> Any:
        for module in self.host.providers(IDiscoNodes):
            found = module.nodeInfo(transit, node)
            if found is not None and not isinstance(found, Element):
                found = await found
            if found is not None:
                return transit.result(Element(ns.DISCO_INFO, "query", {"node": node}, *found.children))
        if self._isTaken(transit, REMAINING_INFO):
            return HANDLED
        raise StanzaError("item-not-found")

    def _isTaken(self, transit: Transit, special: str) -> bool:
        """Whether a component answers a request to an account instead of us (XEP-0355 sections 7.2.4, 7.2.5)."""
        nesting = self.host.provider(INesting)
        return transit.account is not None and nesting is not None and nesting.take(transit, special)

    # -- items -----------------------------------------------------------------------------------

    @iq.get(ns.DISCO_ITEMS, "query", to=HOST)
    def onHostItems(self, transit: Transit) -> Any:
        """The services of this server (section 4)."""
        return self._answerItems(transit, self._listed())

    @iq.get(ns.DISCO_ITEMS, "query", to=ACCOUNT, access="subscribers")
    def onAccountItems(self, transit: Transit) -> Any:
        """The available resources of an account (section 4.1)."""
        sessions = [] if transit.account is None else transit.account.sessions.values()
        return self._answerItems(transit, [session.jid.full for session in sessions if session.available])

    def _listed(self) -> list[str]:
        """Addresses of services: those below our domain, and those below no host's domain."""
        router = self.host.router
        found = list(self._services)
        for domain, port in router.destinations.items():
            if domain not in router.hosts and port.accepting and domain not in found:
                below = [host for host in router.hosts if domain.endswith("." + host)]
                if not below or self.host.name in below:
                    found.append(domain)
        return found

    async def _answerItems(self, transit: Transit, addresses: Iterable[str]) -> Any:
        node = _node(transit)
        known = not node
        if known and self._isTaken(transit, REMAINING_ITEMS):
            return HANDLED
        query = Element(ns.DISCO_ITEMS, "query", {"node": node} if node else None)
        if not node:
            query.children += [Element(ns.DISCO_ITEMS, "item", {"jid": address}) for address in addresses]
        for module in self.host.providers(IDiscoNodes):
            more = module.nodeItems(transit, node)
            if more is not None and not isinstance(more, (list, tuple)):
                more = await more  # type: ignore[misc]
            if more is not None:
                known = True
                query.children += more
        if not known:
            if self._isTaken(transit, REMAINING_ITEMS):
                return HANDLED
            raise StanzaError("item-not-found")
        return transit.result(query)


def _node(transit: Transit) -> str:
    """The node that is asked for, "" for the address itself; no answer repeats a node without end."""
    payload = transit.payload
    node = "" if payload is None else payload.get("node") or ""
    if len(node) > NODE_LIMIT:
        raise StanzaError("item-not-found")
    return node


def _nest(info: Element, more: Iterable[Element]) -> None:
    """Add what components say to our answer; nothing is in it twice."""
    for element in more:
        if element not in info.elements():
            info.children.append(element)


def _info(identities: Iterable[tuple[str, str, str]], features: Iterable[str]) -> Element:
    """A disco#info answer; nothing is in it twice (XEP-0115 section 5.4)."""
    query = Element(ns.DISCO_INFO, "query")
    for category, kind, title in dict.fromkeys(identities):
        identity = query.child(ns.DISCO_INFO, "identity", {"category": category, "type": kind})
        if title:
            identity.attrs["name"] = title
    for feature in sorted(set(features)):
        query.child(ns.DISCO_INFO, "feature", {"var": feature})
    return query
