"""How rights are told to a component (XEP-0356 sections 4.2, 5.2, 6.2 and 7.2)."""

from __future__ import annotations

from xmppservice.hub.rights import NONE, Rights
from xmppservice.wire import ns
from xmppservice.wire.element import Element


def advertisement(rights: Rights, former: Rights) -> Element | None:
    """The ``<privilege/>`` for these rights; what was granted formerly and is no more is told as none.

    None if there is nothing to tell.
    """
    privilege = Element(ns.PRIVILEGE, "privilege")
    if (rights.roster, former.roster) != (NONE, NONE):
        push = "true" if rights.pushes else "false"
        privilege.child(ns.PRIVILEGE, "perm", {"access": "roster", "type": rights.roster, "push": push})
    if (rights.message, former.message) != (NONE, NONE):
        privilege.child(ns.PRIVILEGE, "perm", {"access": "message", "type": rights.message})
    spaces = {**dict.fromkeys(former.iq, NONE), **rights.iq}
    if spaces:
        # Without 'type': each namespace has its own (section 6.2).
        iq = privilege.child(ns.PRIVILEGE, "perm", {"access": "iq"})
        for namespace, type in spaces.items():
            iq.child(ns.PRIVILEGE, "namespace", {"ns": namespace, "type": type})
    if (rights.presence, former.presence) != (NONE, NONE):
        privilege.child(ns.PRIVILEGE, "perm", {"access": "presence", "type": rights.presence})
    return privilege if privilege.children else None
