"""What deliveries ask of modules, and what addresses without accounts look like to the router."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from xmppservice.hub.account import Account
    from xmppservice.hub.transit import Transit
    from xmppservice.hub.unsettled import Unsettled


class IOfflinePolicy(Interface):
    """Decides which messages are worth keeping (XEP-0160), and keeps them."""

    def keeps(transit: Transit) -> bool:
        """Whether this message would be stored if its recipient were offline. On the hot path."""

    def accept(account: Account, message: Unsettled) -> bool:
        """Put a message that no session took into offline storage; False if there is no room."""


class IPort(Interface):
    """Whoever owns an address: a virtual host, a service, a component, a gateway."""

    name: str = Attribute("str: the domain")
    accepting: bool = Attribute("bool: when false the router bounces")

    def deliver(transit: Transit) -> Deferred[None] | None:
        """Take a stanza for this domain. May raise StanzaError to refuse it."""


class IDelegation(Interface):
    """A namespace whose IQs a component may answer in place of the host and its accounts (XEP-0355)."""

    def take(transit: Transit) -> bool:
        """Whether it takes the request, and so answers it; False leaves it to us."""


class IBlockPolicy(Interface):
    """Judges whether an account wants nothing from an address (XEP-0191)."""

    def refuses(account: Account, who: object) -> bool:
        """Whether the JID `who` is blocked; asked only for accounts that block somebody."""
