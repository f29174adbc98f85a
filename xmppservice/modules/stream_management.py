"""Stream management (XEP-0198): offers what `xmppservice.hub.management` does, and sets its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from xmppservice.hub.hooks import stream
from xmppservice.hub.management import Resumption
from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import Duration, Size, option
from xmppservice.wire import ns
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.hub.contracts.stream import IStream


class StreamManagement(HostModule):
    """Lets clients acknowledge stanzas and come back to a session after their connection broke."""

    name = "stream_management"
    xeps = (XEP(198, "1.6.2"),)
    namespaces = (ns.SM,)

    @attrs.frozen
    class Options:
        """How much is kept for a client that is away, and for how long."""

        resumption: Duration = option(
            600.0, "How long a session waits for its client after the connection broke; 0 for no resumption.",
            range=(0, 86400),
        )
        queueSize: Size = option(
            1 << 20, "Bytes that one client may leave unacknowledged before its session is ended.",
            range=(16 << 10, 64 << 20),
        )
        queueStanzas: int = option(
            2000, "Stanzas that one client may leave unacknowledged before its session is ended.", range=(10, 100_000)
        )
        sessions: int = option(10, "Sessions of one account that may wait for their clients.", range=(1, 100))

    def attached(self) -> None:
        """From now on sessions may enable it."""
        options = self.options
        self.host.resumption = Resumption(
            int(options.resumption), options.queueSize, options.queueStanzas, options.sessions
        )

    def detached(self) -> None:
        """No session may enable it any more; those that have go on until they end."""
        self.host.resumption = None

    @stream.features("bind")
    def feature(self, stream: IStream) -> Element:
        """The stream feature (section 3): offered with resource binding, as it comes after it."""
        return Element(ns.SM, "sm")
