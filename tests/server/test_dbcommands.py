"""``xmppctl db status`` and ``db upgrade`` on a stopped server: a look changes nothing."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.hub.commands import CommandError
from xmppservice.server import ModuleCatalogue, openAdministration
from xmppservice.server.administration import OfflineAdministration
from xmppservice.settings import developmentSettings
from xmppservice.storage.files import FILE
from xmppservice.storage.maintenance import upgradeDatabase


class DatabaseCommandTests(SynchronousTestCase):
    """A stopped development server."""

    def setUp(self) -> None:
        """Its folder."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        catalogue = ModuleCatalogue()
        self.settings = developmentSettings(str(self.folder), catalogue, catalogue.defaults)
        self.administration: OfflineAdministration = self.successResultOf(
            openAdministration(self.settings, catalogue, Clock(), lambda *call: None)  # type: ignore[arg-type, return-value]
        )

    def test_nothingThere(self) -> None:
        """Without a database there is a clear word, and still no database."""
        self.failureResultOf(self.administration.databaseStatus(), CommandError)
        self.assertFalse((Path(self.settings.data) / FILE).exists())

    def test_pendingUpgrade(self) -> None:
        """A part that is not made yet is shown as such, again and again, until it is upgraded."""
        Path(self.settings.data).mkdir(mode=0o700)
        upgradeDatabase(self.settings.data)
        for _ in range(2):
            lines = {line.part: line for line in self.successResultOf(self.administration.databaseStatus())}
            self.assertEqual((lines["vcard"].version, lines["vcard"].wanted), (0, 1))
        done = self.successResultOf(self.administration.databaseUpgrade(lambda text: None))
        self.assertIn("vcard: version 1", done)
        lines = {line.part: line for line in self.successResultOf(self.administration.databaseStatus())}
        self.assertEqual(lines["vcard"].version, 1)
        self.assertEqual(self.successResultOf(self.administration.databaseUpgrade(lambda text: None)), [])
        self.successResultOf(self.administration.close())
