"""What service discovery (XEP-0030) asks of other modules, and what it tells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from xmppservice.hub.transit import Transit
    from xmppservice.wire.element import Element


class IHostInfo(Interface):
    """Knows what the host says of itself; provided by the module that answers disco#info."""

    def hostInfo() -> Element:
        """The answer to disco#info at the host without a node: a ``<query/>`` that must not be changed.

        It is the same object until a module is attached or detached.
        """


class IDiscoNodes(Interface):
    """Has nodes at the host or at accounts (XEP-0030 sections 3.2 and 4.2).

    ``transit.account`` is the account that was asked, None for the host. Access to accounts has
    been checked: only the owner and who gets the account's presence come this far.
    """

    def nodeInfo(transit: Transit, node: str) -> Element | Deferred[Element | None] | None:
        """The disco#info ``<query/>`` of a node; None if it is somebody else's, or nobody's."""

    def nodeItems(
        transit: Transit, node: str
    ) -> Sequence[Element] | Deferred[Sequence[Element] | None] | None:
        """The ``<item/>`` elements below a node; None if it is somebody else's, or nobody's.

        The node ``""`` is the address itself: what is returned is listed beside its other items.
        """


class INesting(Interface):
    """Knows what components say of the namespaces that they answer for (XEP-0355 section 7.2)."""

    version: int = Attribute("int: another number whenever the answers of the methods below may have changed")

    def replaces(namespaces: Sequence[str]) -> bool:
        """Whether a component takes the place of a module with these namespaces, whose features are to be left out."""

    def nested(account: bool) -> Sequence[Element]:
        """What to add to the disco#info of the host, or of its accounts: identities, features and forms."""

    def take(transit: Transit, special: str) -> bool:
        """Whether a component answers a request to an account that is delegated under this special name."""
