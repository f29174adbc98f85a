"""Namespace delegation (XEP-0355) in admin mode: components that answer IQs in place of the server.

Which namespaces of which hosts go to which component is in its configuration. A request of a delegated namespace to the
host or to an account goes to the component inside another request, and the result inside its answer goes
back; the client notices nothing. What the component says of its features stands in our own disco#info.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from zope.interface import implementer

from xmppservice.hub.component import ComponentPort, portsOver
from xmppservice.hub.contracts.disco import INesting
from xmppservice.hub.hooks import HOST, component, iq
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.rights import REMAINING_INFO, REMAINING_ITEMS, Rights
from xmppservice.modules.delegation.forwarding import Delegated
from xmppservice.protocol.errors import StanzaError
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.transit import Transit

log = Logger()

#: Separators of the nodes that a component is asked for: the host's features, and those of accounts (section 7.2).
_NODES = {False: "::", True: ":bare:"}

_NESTED = ((ns.DISCO_INFO, "identity"), (ns.DISCO_INFO, "feature"), (ns.DATA, "x"))


@implementer(INesting)
class Delegation(HostModule):
    """Hands requests of delegated namespaces to components."""

    name = "delegation"
    xeps = (XEP(355, "0.5", "partial", "admin mode"),)
    features = (ns.DELEGATION,)
    namespaces = (ns.DELEGATION,)
    provides = (INesting,)

    def __init__(self, host: VirtualHost, options: Any) -> None:
        super().__init__(host, options)
        self.version = 0
        self._delegated: dict[str, Delegated] = {}
        #: (namespace, whether of accounts) → what the component has said of it last.
        self._said: dict[tuple[str, bool], list[Element]] = {}

    def attached(self) -> None:
        """Components may be there already."""
        self.addCleanUp(lambda: setattr(self.host, "delegations", {}))
        self._collect()
        for port in portsOver(self.host):
            if port.accepting:
                self.onConnected(port)

    # -- what is delegated --------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        found = {
            namespace: Delegated(self.host, port, namespace, attributes)
            for port in portsOver(self.host)
            for namespace, attributes in port.rights.delegated.items()
        }
        # What was said by a component that answers no more does not count.
        self._said = {
            key: said
            for key, said in self._said.items()
            if key[0] in found and key[0] in self._delegated and found[key[0]].port is self._delegated[key[0]].port
        }
        self._delegated = found
        self.version += 1
        special = (REMAINING_INFO, REMAINING_ITEMS)
        self.host.delegations = {space: each for space, each in found.items() if space not in special}

    @component.connected
    def onConnected(self, port: ComponentPort) -> None:
        """Tell what is delegated (section 4.2), and ask for the features of that (section 9)."""
        if port.rights.delegated:
            self._advertise(port, port.rights.delegated)
            self._ask(port, port.rights.delegated)

    @component.changed
    def onChanged(self, port: ComponentPort, former: Rights) -> None:
        """Other rights: a component that is connected is told (section 8 rule 3)."""
        self._collect()
        before = former.delegated if self.host.name in former.hosts else {}
        now = port.rights.delegated if self.host.name in port.rights.hosts else {}
        if port.accepting and now != before:
            self._advertise(port, now)
            self._ask(port, now)

    def _advertise(self, port: ComponentPort, delegated: Mapping[str, Sequence[str]]) -> None:
        delegation = Element(ns.DELEGATION, "delegation")
        for namespace, attributes in delegated.items():
            entry = delegation.child(ns.DELEGATION, "delegated", {"namespace": namespace})
            for name in attributes:
                entry.child(ns.DELEGATION, "attribute", {"name": name})
        attrs = {"from": self.host.name, "to": port.name, "id": secrets.token_hex(8)}
        self.host.send(Element(ns.CLIENT, "message", attrs, delegation))

    @iq.get(ns.DELEGATION, "query", to=HOST)
    def onClientMode(self, transit: Transit) -> Any:
        """A request for a delegation by somebody (section 5.1): only the operator of this server delegates."""
        payload = transit.payload
        assert payload is not None
        wanted = [each.get("namespace") or "" for each in payload.findAll(ns.DELEGATION, "delegate")]
        if any(namespace.startswith(ns.DELEGATION) for namespace in wanted):
            # Section 8 rule 5.
            raise StanzaError("forbidden", text="this namespace must not be delegated")
        raise StanzaError("service-unavailable")

    # -- disco (section 7.2) ------------------------------------------------------------------------------------------

    def replaces(self, namespaces: Sequence[str]) -> bool:
        """See `INesting.replaces`."""
        return any(namespace in self.host.delegations for namespace in namespaces)

    def nested(self, account: bool) -> list[Element]:
        """See `INesting.nested`."""
        return [each for (_, bare), said in self._said.items() if bare is account for each in said]

    def take(self, transit: Transit, special: str) -> bool:
        """See `INesting.take`."""
        delegated = self._delegated.get(special)
        return delegated is not None and delegated.take(transit)

    def _ask(self, port: ComponentPort, delegated: Mapping[str, Sequence[str]]) -> None:
        for namespace in delegated:
            if namespace in self.host.delegations:
                for bare in _NODES:
                    self._askOne(port, namespace, bare)

    def _askOne(self, port: ComponentPort, namespace: str, bare: bool) -> None:
        node = f"{ns.DELEGATION}{_NODES[bare]}{namespace}"
        query = Element(ns.DISCO_INFO, "query", {"node": node})
        attrs = {"from": self.host.name, "to": port.name, "type": "get"}

        def answered(iq: Element) -> None:
            mine = self._delegated.get(namespace)
            if mine is None or mine.port is not port:
                return
            info = iq.find(ns.DISCO_INFO, "query")
            children = [] if info is None else info.elements()
            self._said[namespace, bare] = [each for each in children if (each.ns, each.name) in _NESTED]
            self.version += 1

        def failed(failure: Any) -> None:
            if failure.check(StanzaError):
                log.debug("{name} says nothing of {node}: {why}", name=port.name, node=node, why=str(failure.value))
            else:
                log.failure("what {name} says of {node} cannot be used", failure, name=port.name, node=node)

        self.host.request(Element(ns.CLIENT, "iq", attrs, query)).addCallback(answered).addErrback(failed)
