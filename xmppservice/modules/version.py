"""Software version (XEP-0092)."""

from __future__ import annotations

import platform

import attrs

from xmppservice import __version__
from xmppservice.hub.hooks import HOST, iq
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import option
from xmppservice.hub.transit import Transit
from xmppservice.wire import ns
from xmppservice.wire.element import Element


class Version(HostModule):
    """Says which software the server is."""

    name = "version"
    xeps = (XEP(92, "1.1"),)
    features = (ns.VERSION,)
    namespaces = (ns.VERSION,)

    @attrs.frozen
    class Options:
        """How much is told."""

        system: bool = option(False, "Whether the operating system is told too (XEP-0092 section 5).")

    @iq.get(ns.VERSION, "query", to=HOST)
    def onVersion(self, transit: Transit) -> Element:
        """Name and version, and the operating system if that is allowed (section 2)."""
        query = Element(ns.VERSION, "query")
        query.child(ns.VERSION, "name", None, "xmppservice")
        query.child(ns.VERSION, "version", None, __version__)
        if self.options.system:
            query.child(ns.VERSION, "os", None, f"{platform.system()} {platform.release()}")
        return transit.result(query)
