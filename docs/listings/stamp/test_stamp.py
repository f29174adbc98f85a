"""The stamp module, enabled by its dotted path."""

from twisted.trial.unittest import SynchronousTestCase

from xmppservice.testing import MemoryServer

STAMP = "urn:example:stamp"


class StampTests(SynchronousTestCase):
    """Two accounts, one stamp."""

    def setUp(self):
        """A server with the module and a text of our own."""
        self.server = MemoryServer(modules=("office.stamp",), options={"office.stamp": {"text": "red"}})
        self.addCleanup(self.server.stop)
        self.alice = self.server.client("alice/phone")

    def test_message(self):
        """What bob gets bears the stamp."""
        bob = self.server.client("bob/desk", available=True)
        self.alice.send("<message to='bob@localhost' type='chat'><body>hello</body></message>")
        self.assertEqual(bob.next("message").find(STAMP, "stamp").text, "red")

    def test_question(self):
        """The host tells which stamp it has."""
        answer = self.alice.query("<iq type='get' id='q' to='localhost'><stamp xmlns='urn:example:stamp'/></iq>")
        self.assertEqual(answer.find(STAMP, "stamp").text, "red")
