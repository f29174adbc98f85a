"""Contact addresses (XEP-0157)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.modules.asking import payload
from xmppservice.hub.loader import ModuleError
from xmppservice.hub.options import describeOptions
from xmppservice.modules.contact_info import PURPOSES, ContactInfo
from xmppservice.protocol.payloads.forms import Form
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element

INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"


def forms(**options: list[str]) -> list[Element]:
    """The forms in disco#info of a host whose module has these options."""
    server = MemoryServer(modules=("disco", "contact_info"), options={"contact_info": options})
    return payload(server.client("a/1"), INFO, to="localhost").findAll(ns.DATA, "x")


class ContactInfoTests(SynchronousTestCase):
    """The form in the host's disco#info."""

    def test_form(self) -> None:
        """The addresses are there by purpose (section 3), and nothing for purposes without any."""
        [found] = forms(abuse=["mailto:abuse@example.com", "xmpp:abuse@example.com"], status=["https://example.com/s"])
        form = Form.parse(found)
        self.assertEqual((form.kind, form.formType), ("result", "http://jabber.org/network/serverinfo"))
        self.assertEqual([field.var for field in form.fields], ["abuse-addresses", "status-addresses"])
        self.assertEqual(form.lines("abuse-addresses"), ("mailto:abuse@example.com", "xmpp:abuse@example.com"))

    def test_nothing(self) -> None:
        """Without any address there is no form."""
        self.assertEqual(forms(), [])

    def test_everyPurpose(self) -> None:
        """Each purpose of the registry is an option."""
        self.assertEqual(tuple(each.key for each in describeOptions(ContactInfo.Options)), PURPOSES)
        [found] = forms(**{purpose: [f"mailto:{purpose}@example.com"] for purpose in PURPOSES})
        self.assertEqual(len(Form.parse(found).fields), len(PURPOSES))

    def test_noURI(self) -> None:
        """What is no URI stops the start, with the words to mend it."""
        for wrong in ("abuse@example.com", "", "mailto:a b@example.com", "mailto:a\x01"):
            with self.assertRaises(ModuleError) as caught:
                forms(security=[wrong])
            self.assertIn("security", str(caught.exception))
