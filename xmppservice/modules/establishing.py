"""Binding and session requests on a stream that is bound already (RFC 6120 section 7, RFC 3921 section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmppservice.hub.hooks import ACCOUNT, HOST, iq
from xmppservice.hub.module import HostModule
from xmppservice.protocol.errors import StanzaError
from xmppservice.wire import ns

if TYPE_CHECKING:
    from xmppservice.hub.transit import Transit
    from xmppservice.wire.element import Element


class Establishing(HostModule):
    """Answers what older clients still ask after binding, and refuses a second resource."""

    name = "establishing"
    namespaces = (ns.SESSION, ns.BIND)

    @iq.set(ns.SESSION, "session", to=HOST | ACCOUNT, access="owner")
    def onSession(self, transit: Transit) -> Element:
        """The session of RFC 3921: there is nothing left to do (RFC 6121 section 1.4)."""
        return transit.result()

    @iq.set(ns.BIND, "bind", to=HOST | ACCOUNT, access="owner")
    def onBind(self, transit: Transit) -> Element:
        """One stream has one resource (RFC 6120 section 7.1)."""
        raise StanzaError("not-allowed", text="this stream has a resource already")
