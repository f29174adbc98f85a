"""Anonymous users (XEP-0175) own nothing: what they try to keep would be the next guest's."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.modules.administered import administered
from tests.modules.asking import payload, refused
from xmppservice.hub.account import Account
from xmppservice.hub.contracts.storage import AccountRecord
from xmppservice.protocol.jid import JID
from xmppservice.testing import MemoryClient, MemoryServer

LAST = "<query xmlns='jabber:iq:last'/>"
NOTE = "<query xmlns='jabber:iq:private'><a xmlns='urn:x'>{}</a></query>"
REGISTER = "<query xmlns='jabber:iq:register'>{}</query>"


class GuestTests(SynchronousTestCase):
    """Two guests and the modules that keep things by account."""

    def setUp(self) -> None:
        """Guests share the account id 0, which no row has."""
        self.server = administered(MemoryServer(modules=("vcard", "private_xml", "last_activity", "register")))
        self.one, self.two = self._guest("one"), self._guest("two")

    def _guest(self, local: str) -> MemoryClient:
        host = self.server.host
        record = AccountRecord(0, local, True, "guest", {}, 0, frozenset(), 0)
        host.accounts.known[local] = Account(host, JID.of(local, host.name), record)
        return self.server.client(f"{local}/x", available=True)

    def test_vcard(self) -> None:
        """A guest sets no vCard and sees none of another's."""
        self.assertEqual(refused(self.one, "<vCard xmlns='vcard-temp'><FN>1</FN></vCard>", "set"), "not-allowed")
        self.assertEqual(payload(self.two, "<vCard xmlns='vcard-temp'/>").children, [])

    def test_private(self) -> None:
        """A guest keeps no private data and sees none of another's."""
        self.assertEqual(refused(self.one, NOTE.format("secret"), "set"), "not-allowed")
        self.assertEqual(payload(self.two, NOTE.format("")).elements()[0].children, [])

    def test_lastActivity(self) -> None:
        """A guest's logout is not written down."""
        self.one.close()
        rows = self.successResultOf(self.server.database.store.read("last_activity.get", (0,)))
        self.assertEqual(rows, [])
        self.assertEqual(payload(self.two, LAST).get("seconds"), "0")

    def test_register(self) -> None:
        """A guest is not registered, and has neither password nor account to change."""
        fields = REGISTER.format("<username>one</username><password>long enough</password>")
        self.assertEqual(refused(self.one, REGISTER.format("")), "service-unavailable")
        self.assertEqual(refused(self.one, fields, "set"), "not-allowed")
        self.assertEqual(refused(self.one, REGISTER.format("<remove/>"), "set"), "registration-required")
