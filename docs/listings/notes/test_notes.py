"""The notes module, tested with the public kit."""

from twisted.trial.unittest import SynchronousTestCase

from xmppservice.testing import MemoryServer

READ = "<iq type='get' id='r'><notes xmlns='urn:example:notes'/></iq>"


def write(text):
    """The request that stores a note."""
    return f"<iq type='set' id='w'><note xmlns='urn:example:notes'>{text}</note></iq>"


class NotesTests(SynchronousTestCase):
    """One account, two devices."""

    def setUp(self):
        """A server with the module and a limit of two."""
        self.server = MemoryServer(modules=("notes",), options={"notes": {"limit": 2}})
        self.phone = self.server.client("alice/phone")
        self.desk = self.server.client("alice/desk")

    def test_shared(self):
        """What one device writes another reads."""
        self.assertEqual(self.phone.query(write("milk")).get("type"), "result")
        notes = self.desk.query(READ).elements()[0]
        self.assertEqual([note.text for note in notes.elements()], ["milk"])

    def test_limit(self):
        """The third note is refused."""
        for text in ("one", "two"):
            self.phone.query(write(text))
        error = self.phone.query(write("three")).elements()[0]
        self.assertEqual(error.elements()[0].name, "resource-constraint")

    def test_private(self):
        """Nobody else reads them."""
        mallory = self.server.client("mallory/x")
        answer = mallory.query("<iq type='get' id='r' to='alice@localhost'><notes xmlns='urn:example:notes'/></iq>")
        self.assertEqual(answer.get("type"), "error")
