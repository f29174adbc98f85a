"""Composition: from a checked configuration to a running tree of services (architecture section 8)."""

from xmppservice.server.administration import openAdministration
from xmppservice.server.catalogue import ModuleCatalogue
from xmppservice.server.composition import XMPPServer

__all__ = ["ModuleCatalogue", "XMPPServer", "openAdministration"]
