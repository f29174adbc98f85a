"""Entity capabilities (XEP-0115): the hash that saves clients a disco#info request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from xmppservice.hub.contracts.disco import IDiscoNodes, IHostInfo
from xmppservice.hub.hooks import stream
from xmppservice.hub.module import XEP, HostModule
from xmppservice.protocol.payloads.caps import capsElement
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.contracts.stream import IStream
    from xmppservice.hub.transit import Transit

#: Stands for this software, whatever host it runs on (section 4).
NODE = "urn:xmppservice"


@implementer(IDiscoNodes)
class Caps(HostModule):
    """Advertises the server's own capabilities as a stream feature, and answers for their hash."""

    name = "caps"
    xeps = (XEP(115, "1.6.0"),)
    features = (ns.CAPS,)
    namespaces = (ns.CAPS,)
    requires = (IHostInfo,)
    provides = (IDiscoNodes,)

    def attached(self) -> None:
        """The hash is made when the first stream asks for it."""
        self._info: Element | None = None
        self._caps = Element(ns.CAPS, "c")

    def current(self) -> Element:
        """The ``<c/>`` for what the host offers now."""
        source = self.host.provider(IHostInfo)
        assert source is not None  # the loader sees to `requires`
        info = source.hostInfo()
        if info is not self._info:
            self._info, self._caps = info, capsElement(NODE, info)
        return self._caps

    @stream.features("bind")
    def feature(self, stream: IStream) -> Element:
        """The stream feature (section 6.3), for those who have authenticated."""
        return self.current()

    def nodeInfo(self, transit: Transit, node: str) -> Element | None:
        """Answer for ``node#ver`` (section 6.2); a hash that is out of date is unknown."""
        if transit.account is not None or node != f"{NODE}#{self.current().attrs['ver']}":
            return None
        return self._info

    def nodeItems(self, transit: Transit, node: str) -> None:
        """Such a node is never listed and has nothing below it (section 6.2)."""
