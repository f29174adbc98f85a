"""go-sendxmpp: a Go program that sends what it reads, or prints what it gets, and knows no roster."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import Login
from tests.interop.processes import PATIENCE, Child, waitFor
from tests.interop.programs import GO_SENDXMPP
from tests.interop.servers import DOMAIN, Server

pytestmark = pytest.mark.interop
TEXT = "Grüße & <b>\u265a</b>"


@pytest.fixture(autouse=True, scope="module")
def present() -> None:
    """Skips (or fails) if the program is not installed."""
    GO_SENDXMPP.demand()


class Go:
    """Runs the program for one account; Go takes the certificate authority from SSL_CERT_FILE."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.children: list[Child] = []

    def command(self, jid: str, direct: bool) -> list[str]:
        """The command line up to the recipients."""
        port = self.server.directPort if direct else self.server.port
        password = jid.partition("@")[0][::-1]
        where = ["--jserver", f"{DOMAIN}:{port}", *(["--tls"] if direct else [])]
        return ["go-sendxmpp", *where, "--username", jid, "--password", password]

    def environment(self, ca: Path | None) -> dict[str, str]:
        """A home of its own, and the only authority to trust."""
        return {"HOME": str(self.folder), "SSL_CERT_FILE": str(ca or self.server.ca), "SSL_CERT_DIR": str(self.folder)}

    def send(
        self, jid: str, to: str, text: str, direct: bool = False, ca: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Sends one message."""
        return subprocess.run(
            [*self.command(jid, direct), to],
            input=text,
            env={**os.environ, **self.environment(ca)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def listen(self, jid: str) -> Child:
        """Prints what comes in."""
        log = self.folder / f"listen{len(self.children)}.log"
        child = Child([*self.command(jid, False), "--listen"], log, self.folder, self.environment(None))
        self.children.append(child)
        return child


@pytest.fixture
def go(server: Server, tmp_path: Path) -> Iterator[Go]:
    """The program, for this test's server; listeners end with the test."""
    program = Go(server, tmp_path)
    yield program
    for child in program.children:
        child.process.kill()
        child.process.wait()


@pytest.mark.parametrize("direct", [False, True], ids=["starttls", "direct-tls"])
def test_sends(direct: bool, account: Callable[[str], str], go: Go, login: Login) -> None:
    """A message gets through although the program closes its connection at once after sending."""
    alice, bob = account("alice"), login(account("bob"))
    done = go.send(alice, bob.jid, TEXT, direct)
    assert done.returncode == 0, done.stderr
    assert bob.expect("message", sender=alice)["body"].strip() == TEXT


def test_refusesStrangerCertificate(account: Callable[[str], str], go: Go, strangerCA: Path) -> None:
    """The program really verifies the certificate."""
    done = go.send(account("alice"), account("bob"), TEXT, ca=strangerCA)
    assert done.returncode != 0
    assert "certificate" in done.stderr


def test_listens(account: Callable[[str], str], go: Go, login: Login) -> None:
    """The program prints what was sent before it came, and what is sent while it is there."""
    alice, bob = account("alice"), login(account("bob"))
    bob.tell("chat", to=alice, body="sent before")
    bob.ask("askPing", "pong", to=DOMAIN)
    child = go.listen(alice)
    waitFor("the offline message", lambda: f"{bob.jid}: sent before" in child.output)
    bob.tell("chat", to=alice, body="sent now")
    waitFor("the message", lambda: f"{bob.jid}: sent now" in child.output)
    assert child.output.count("sent before") == 1
