"""XMPP ping (XEP-0199)."""

from __future__ import annotations

from xmppservice.hub.hooks import ACCOUNT, HOST, iq
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.transit import Transit
from xmppservice.wire import ns
from xmppservice.wire.element import Element


class Ping(HostModule):
    """Answers pings sent to the server, and to an account by those who may know that it exists."""

    name = "ping"
    xeps = (XEP(199, "2.0.1"),)
    features = (ns.PING,)
    accountFeatures = (ns.PING,)
    namespaces = (ns.PING,)

    @iq.get(ns.PING, "ping", to=HOST | ACCOUNT, access="subscribers")
    def onPing(self, transit: Transit) -> Element:
        """The pong (sections 4.2 and 4.3)."""
        return transit.result()
