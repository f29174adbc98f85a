"""What a component may do beyond speaking for its own domain: privileges (XEP-0356) and delegations (XEP-0355).

Plain data, as the configuration grants it. The module `privilege` acts on the one half, the module `delegation` on the
other; without them nothing of it has any effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

NONE: Final = "none"
BOTH: Final = "both"

#: Delegates disco#info of accounts for nodes that we do not know (XEP-0355 section 7.2.4).
REMAINING_INFO: Final = "urn:xmpp:delegation:2:bare:disco#info:*"
#: Delegates disco#items of accounts, without a node or for nodes that we do not know (XEP-0355 section 7.2.5).
REMAINING_ITEMS: Final = "urn:xmpp:delegation:2:bare:disco#items:*"


@attrs.frozen
class Rights:
    """The rights of one component over the accounts of `hosts`; by default none.

    `roster` and the values of `iq` (by namespace) are none, get, set or both; `message` is none or outgoing; `presence`
    is none, managed_entity or roster. `delegated` maps a namespace to the attributes that a request must have.
    """

    hosts: frozenset[str] = frozenset()
    roster: str = NONE
    rosterPush: bool = True
    message: str = NONE
    presence: str = NONE
    iq: Mapping[str, str] = attrs.field(factory=dict)
    delegated: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    @property
    def privileged(self) -> bool:
        """Whether there is any privilege (XEP-0356)."""
        return {self.roster, self.message, self.presence} != {NONE} or bool(self.iq)

    @property
    def pushes(self) -> bool:
        """Whether the component hears of changes to rosters (XEP-0356 section 4.1)."""
        return self.rosterPush and self.roster in ("get", BOTH)

    def mayUseRoster(self, type: str) -> bool:
        """Whether a roster get or set is granted (XEP-0356 section 4.1)."""
        return self.roster in (type, BOTH)

    def maySendIQ(self, namespace: str, type: str) -> bool:
        """Whether an IQ of this type and namespace is granted (XEP-0356 section 6.1)."""
        return self.iq.get(namespace, NONE) in (type, BOTH)


NOTHING: Final = Rights()
