"""profanity in tmux: a person at a terminal, on a C client library (libstrophe)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import Login
from tests.interop.programs import PROFANITY
from tests.interop.servers import Server
from tests.interop.terminal import Terminal

pytestmark = pytest.mark.interop
SETTINGS = "[connection]\ntls.certpath={folder}\nautoping=0\n[notifications]\n[ui]\nsplash=false\n"
TEXT = "Grüße & <b>\u265a</b>"

Open = Callable[..., Terminal]


@pytest.fixture(autouse=True, scope="module")
def present() -> None:
    """Skips (or fails) if the program is not installed."""
    PROFANITY.demand()


@pytest.fixture
def open_(server: Server, tmp_path: Path) -> Iterator[Open]:
    """Opens profanity in a home of its own, trusting one certificate authority, and logs in."""
    opened: list[Terminal] = []

    def begin(jid: str, direct: bool = False, ca: Path | None = None) -> Terminal:
        environment = makeHome(tmp_path / "home", ca or server.ca)
        terminal = Terminal(["profanity"], environment)
        opened.append(terminal)
        terminal.expect("[offline]")
        port, policy = (server.directPort, "legacy") if direct else (server.port, "force")
        terminal.type(f"/connect {jid} server 127.0.0.1 port {port} tls {policy}")
        terminal.expect("Enter password:")
        terminal.type(jid.partition("@")[0][::-1])
        return terminal

    yield begin
    for terminal in opened:
        terminal.kill()


def makeHome(home: Path, ca: Path) -> dict[str, str]:
    """Writes the settings, and the authority under the hashed name that OpenSSL looks for; gives the environment."""
    certificates, settings = home / "certificates", home / ".config" / "profanity"
    for folder in (certificates, settings, home / ".local" / "share"):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ca, certificates / "ca.pem")
    subprocess.run(["openssl", "rehash", str(certificates)], check=True, capture_output=True, timeout=30)
    (settings / "profrc").write_text(SETTINGS.format(folder=certificates), encoding="utf-8")
    paths = {"XDG_CONFIG_HOME": str(home / ".config"), "XDG_DATA_HOME": str(home / ".local" / "share")}
    return {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "screen-256color", "LANG": "C.UTF-8", **paths}


@pytest.mark.parametrize("direct", [False, True], ids=["starttls", "direct-tls"])
def test_logsIn(direct: bool, account: Callable[[str], str], open_: Open) -> None:
    """A person is told that they are in, over TLS, without any question about the certificate."""
    screen = open_(account("alice"), direct=direct)
    screen.expect("logged in successfully")
    screen.expect("[TLS]")
    screen.type("/quit")
    screen.expectEnd()


def test_refusesStrangerCertificate(account: Callable[[str], str], open_: Open, strangerCA: Path) -> None:
    """With another authority the person is asked, so the silence of the other tests means something."""
    screen = open_(account("alice"), ca=strangerCA)
    screen.expect("TLS certificate verification failed")
    assert "logged in successfully" not in screen.screen()


def test_befriendsAndChats(account: Callable[[str], str], open_: Open, login: Login) -> None:
    """Subscription both ways, presence, the roster and chat both ways, as seen on the screen."""
    alice, bob = account("alice"), login(account("bob"))
    screen = open_(alice)
    screen.expect("logged in successfully")
    screen.type(f"/sub request {bob.jid}")
    bob.expect("presence", type="subscribe", sender=alice)
    bob.tell("approve", to=alice)
    bob.tell("subscribe", to=alice)
    screen.expect(f"Received authorization request from {bob.jid}")
    screen.type(f"/sub allow {bob.jid}")
    bob.expect("presence", type="subscribed", sender=alice)
    bob.expect("presence", type="available", sender=alice)
    bob.expectRoster({alice: "both"})
    screen.ask("/roster", "both")
    screen.type(f"/msg {bob.jid} {TEXT}")
    got = bob.expect("message", sender=alice, body=TEXT)
    bob.tell("chat", to=got["from"], body="the answer is 42")
    screen.expect("the answer is 42")


def test_findsOfflineMessages(account: Callable[[str], str], open_: Open, login: Login) -> None:
    """What was sent while the person was away is on the screen after the next start."""
    alice, bob = account("alice"), login(account("bob"))
    screen = open_(alice)
    screen.expect("logged in successfully")
    screen.type("/quit")
    screen.expectEnd()
    bob.tell("chat", to=alice, body="you were away")
    bob.ask("askPing", "pong", to="localhost")
    again = open_(alice)
    again.expect("logged in successfully")
    again.type(f"/msg {bob.jid}")
    again.expect("you were away")
