"""A module that fails on purpose, for the rows about faults of our own."""

from __future__ import annotations

from xmppservice.hub.contracts.stream import IStream
from xmppservice.hub.hooks import HOST, iq, stream
from xmppservice.hub.module import HostModule
from xmppservice.hub.transit import Transit
from xmppservice.wire.element import Element

FAULT = "urn:example:fault"
UNLUCKY = "127.6.6.6"
"""Streams from this address meet a fault when they are to be told what they can bind."""


class Faulty(HostModule):
    """Raises what no module should."""

    name = "faulty"

    @iq.get(FAULT, "fault", to=HOST)
    def onFault(self, transit: Transit) -> Element:
        """An injected fault in the answer to an IQ."""
        raise RuntimeError("injected in an IQ")

    @iq.get(FAULT, "later", to=HOST)
    async def onLater(self, transit: Transit) -> Element:
        """The same in a coroutine."""
        raise RuntimeError("injected in a coroutine")

    @stream.features("bind")
    def onFeatures(self, stream: IStream) -> Element | None:
        """An injected fault in the negotiation of one address."""
        if stream.peer == UNLUCKY:
            raise RuntimeError("injected in a stream")
        return None
