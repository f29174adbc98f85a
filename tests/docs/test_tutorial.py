"""The two worked examples of the tutorial: a module in its own distribution, and a service in a .tac file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import pytest

from tests.interop.processes import Child, accepts, freePort, waitFor
from tests.sources import ROOT

LISTINGS = ROOT / "docs" / "listings"


def environment(*folders: Path) -> dict[str, str]:
    """The environment of a process that finds the project and these folders."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT)))}


@pytest.mark.parametrize("name", ["notes", "stamp"])
def test_listings(name: str) -> None:
    """The tests of the tutorial's modules pass."""
    folder = LISTINGS / name
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / f"test_{name}.py")]
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_notesPlugin(tmp_path: Path) -> None:
    """The plugin file makes the module known by its name, with its option and its table, to the real configuration."""
    (tmp_path / "xmppservice.toml").write_text(
        '[tls]\ndevelopment_certificates = true\n[hosts."localhost"]\nenable = ["notes"]\n'
        '[hosts."localhost".notes]\nlimit = 7\n',
        "utf-8",
    )
    code = (
        "from xmppservice.server import ModuleCatalogue\n"
        "from xmppservice.settings import loadSettings\n"
        "catalogue = ModuleCatalogue()\n"
        "settings = loadSettings('xmppservice.toml', catalogue, catalogue.defaults)\n"
        "print(settings.hosts['localhost'].options['notes'].limit, 'xmpp_notes.tables' in catalogue.tables())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(LISTINGS / "notes"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["7", "True"], done.stdout + done.stderr


class TacTests(unittest.TestCase):
    """The real process, started from the .tac file."""

    def test_service(self) -> None:
        """The server of the .tac file accepts clients, the joined service starts too, both stop with status 0."""
        with tempfile.TemporaryDirectory() as name:
            self._run(Path(name))

    def _run(self, folder: Path) -> None:
        port = freePort()
        (folder / "xmppservice.toml").write_text(
            f'[listen]\nc2s = ["tcp:{port}:interface=127.0.0.1"]\nc2s_tls = []\n'
            '[tls]\ndevelopment_certificates = true\n[hosts."localhost"]\n',
            "utf-8",
        )
        command = [
            sys.executable, "-c", "from twisted.scripts.twistd import run; run()",
            "--nodaemon", "--pidfile=", "--python", str(LISTINGS / "greeter" / "server.tac"),
        ]  # fmt: skip
        child = Child(command, folder / "log", folder, environment())
        try:
            waitFor("the port", lambda: accepts(port))
            self.assertIn(b"<stream:features>", _greet(port))
        finally:
            status = child.stop()
        self.assertEqual(status, 0, child.output)
        self.assertNotIn("Traceback", child.output)


def _greet(port: int) -> bytes:
    """What the server says to a stream header."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(
            b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
            b"xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        answer = b""
        deadline = time.monotonic() + 5
        while b"</stream:features>" not in answer and time.monotonic() < deadline:
            answer += connection.recv(4096)
        return answer
