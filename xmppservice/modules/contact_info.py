"""Contact addresses for XMPP services (XEP-0157), as extended information of the host (XEP-0128)."""

from __future__ import annotations

import re

import attrs

from xmppservice.hub.module import XEP, HostModule
from xmppservice.hub.options import option
from xmppservice.protocol.payloads.forms import Form
from xmppservice.wire import ns
from xmppservice.wire.element import Element

#: The purposes of section 3, in the order of the registry; each is an option and a field of the form.
PURPOSES = ("abuse", "admin", "feedback", "sales", "security", "status", "support")

_isURI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-\[\]_a-z~\u00a0-\ud7ff]+").fullmatch
_LIMIT = (0, 20)


class ContactInfo(HostModule):
    """Tells people whom to write to, and about what."""

    name = "contact_info"
    xeps = (XEP(157, "1.1.1"),)

    @attrs.frozen
    class Options:
        """Addresses by purpose, each a URI such as ``mailto:abuse@example.com`` or ``xmpp:abuse@example.com``."""

        abuse: tuple[str, ...] = option((), "For reports of abuse, as URIs.", range=_LIMIT)
        admin: tuple[str, ...] = option((), "The administrators, as URIs.", range=_LIMIT)
        feedback: tuple[str, ...] = option((), "For feedback of users, as URIs.", range=_LIMIT)
        sales: tuple[str, ...] = option((), "For questions about sales, as URIs.", range=_LIMIT)
        security: tuple[str, ...] = option((), "For reports of security problems, as URIs.", range=_LIMIT)
        status: tuple[str, ...] = option((), "Where the state of the service can be seen, as URIs.", range=_LIMIT)
        support: tuple[str, ...] = option((), "For users who need support, as URIs.", range=_LIMIT)

    def attached(self) -> None:
        """Refuse what is no URI, so that a mistake is seen at the start and not by a person in need."""
        for purpose in PURPOSES:
            for address in getattr(self.options, purpose):
                if not _isURI(address):
                    raise ValueError(f"{purpose}: {address!r} is no URI; write mailto:… or xmpp:… or https://…")

    def discoExtensions(self) -> list[Element]:
        """The form (section 3); without any address there is none."""
        form = Form("result", ns.SERVER_INFO)
        for purpose in PURPOSES:
            addresses = getattr(self.options, purpose)
            if addresses:
                form.add(f"{purpose}-addresses", addresses, "list-multi")
        return [form.toElement()] if form.fields else []
