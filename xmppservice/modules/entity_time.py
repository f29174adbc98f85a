"""Entity time (XEP-0202)."""

from __future__ import annotations

from xmppservice.hub.hooks import HOST, iq
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.transit import Transit
from xmppservice.protocol.payloads.datetime import stamp
from xmppservice.wire import ns
from xmppservice.wire.element import Element


class EntityTime(HostModule):
    """Says what time it is; in UTC, so that nothing tells where the server is (section 6)."""

    name = "entity_time"
    xeps = (XEP(202, "2.0"),)
    features = (ns.TIME,)
    namespaces = (ns.TIME,)

    @iq.get(ns.TIME, "time", to=HOST)
    def onTime(self, transit: Transit) -> Element:
        """The time, and the offset of our clock from it (section 2)."""
        time = Element(ns.TIME, "time")
        time.child(ns.TIME, "tzo", None, "+00:00")
        time.child(ns.TIME, "utc", None, stamp(self.host.clock.now()))
        return transit.result(time)
