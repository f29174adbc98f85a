"""The promise: what was called committed is in the file, whatever is killed."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any

from twisted.internet.defer import Deferred

from tests.storage.support import FileTestCase
from xmppservice.storage.database import Database

#: How often the server is killed.
ROUNDS = 3


class CrashTests(FileTestCase):
    """`kill -9` of the server under load."""

    def crash(self, first: int) -> list[int]:
        """Run the victim for a moment, kill it, return what it said was committed."""
        command = [sys.executable, "-m", "tests.storage.victim", self.folder, str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
            assert victim.stdout is not None
            lines = [victim.stdout.readline()]
            time.sleep(0.2 + secrets.randbelow(300) / 1000)
            victim.kill()
            lines += victim.stdout.read().split(b"\n")
        return [int(line) for line in lines if line.strip()]

    def test_nothingCommittedIsLost(self) -> None:
        """Rounds of kill and restart: no committed row is missing, none is doubled, none out of order."""
        first = 1

        def prepare(reactor: Any, database: Database) -> Generator[Deferred[Any], Any, Any]:
            host = yield database.accounts.hostId("example.com")
            return (yield database.accounts.create(host, "juliet", b""))

        def look(reactor: Any, database: Database) -> Generator[Deferred[Any], Any, Any]:
            return (yield database.store.read("mark.words"))

        self.assertEqual(self.withDatabase(prepare), 1)
        for number in range(ROUNDS):
            said = self.crash(first)
            self.assertGreater(len(said), 3)
            words = [row[0] for row in self.withDatabase(look)]
            first = len(words) + 1
            self.assertEqual(words, [f"word {index}" for index in range(1, first)])
            self.assertGreaterEqual(first - 1, max(said))
            self.assertEqual(self.query("SELECT count(*) FROM offline"), [(number + 1,)])
        self.assertEqual(self.query("PRAGMA integrity_check"), [("ok",)])
