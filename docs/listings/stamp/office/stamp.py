"""Puts a stamp on what people say."""

import attrs

from xmppservice.hub.hooks import HOST, Phase, iq, message
from xmppservice.hub.module import HostModule, option
from xmppservice.wire.element import Element

STAMP = "urn:example:stamp"


class Stamp(HostModule):
    """Adds an element to each chat message of the host's accounts, and tells which when asked."""

    name = "stamp"
    features = (STAMP,)
    namespaces = (STAMP,)

    @attrs.frozen
    class Options:
        """The stamp."""

        text: str = option("blue", "Text of the stamp.")

    @message.sending(Phase.AMEND, types=("chat",))
    def onMessage(self, transit):
        """One element more behind the others."""
        transit.stanza.child(STAMP, "stamp", text=self.options.text)

    @iq.get(STAMP, "stamp", to=HOST)
    def onQuestion(self, transit):
        """Which stamp it is."""
        return transit.result(Element(STAMP, "stamp", None, self.options.text))
