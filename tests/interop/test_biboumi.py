"""A real gateway behind the server: biboumi, between slixmpp and somebody on IRC."""

from __future__ import annotations

import secrets
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.irc import Biboumi, IRCUser, Ngircd
from tests.interop.processes import Talker, freePort, waitFor
from tests.interop.programs import BIBOUMI, NGIRCD
from tests.server.site import Site
from tests.sources import ROOT

GATEWAY = "gateway.localhost"
#: The IRC server as biboumi knows it: a name of alice's choice, which she tells the gateway how to reach.
IRC = "irc.localhost"
ROOM = f"#chan%{IRC}@{GATEWAY}"
#: XEP-0106: a character that a local part cannot have.
ODD_ROOM = rf"#o\40d%{IRC}@{GATEWAY}"
DOCUMENT = ROOT / "docs" / "howto" / "components.rst"
TEXT = "<b>5 > 3 & \"2\" 'ü' \N{SLICE OF PIZZA}"


def documented(language: str, **replaced: str) -> str:
    """The first piece of configuration in this language that operators are shown, for the gateway of the test."""
    _, _, rest = DOCUMENT.read_text("utf-8").partition(f".. code-block:: {language}\n\n")
    lines = rest.splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith(" "))
    text = textwrap.dedent("".join(lines[:end]))
    for old, new in {"irc.example.com": GATEWAY, **replaced}.items():
        assert old in text, text
        text = text.replace(old, new)
    return text


class GatewaySite(Site):
    """A server that expects the gateway, with alice's account."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None, listen=False)
        self.options = ["--config", "xmppservice.toml"]
        self.componentPort, self.secret = freePort(), secrets.token_hex(24)
        path = folder / "irc.secret"
        path.touch(0o600)
        path.write_text(self.secret, "utf-8")
        self.write(
            f'[listen]\nc2s = ["tcp:{self.port}:interface=127.0.0.1"]\n'
            f'c2s_tls = ["tcp:{self.directPort}:interface=127.0.0.1"]\n'
            f'component = ["tcp:{self.componentPort}:interface=127.0.0.1"]\n'
            f"[hosts.localhost]\n{documented('toml')}"
        )
        self.start()
        self.command("user add", jid="alice@localhost", password="ecila")

    def waitUntil(self, state: str) -> None:
        """Waits until the gateway is "connected", or "absent"."""
        waitFor(f"the gateway to be {state}", lambda: self.command("components").rows[0][1] == state)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[GatewaySite]:
    """A running server; it has to stop cleanly."""
    BIBOUMI.demand()
    NGIRCD.demand()
    site = GatewaySite(tmp_path / "server")
    try:
        yield site
        site.stop()
    finally:
        site.end()


@pytest.fixture
def irc(tmp_path: Path, site: GatewaySite) -> Iterator[Ngircd]:
    """A running IRC server."""
    server = Ngircd(tmp_path)
    yield server
    server.child.stop()


@pytest.fixture
def biboumi(tmp_path: Path, site: GatewaySite) -> Iterator[Biboumi]:
    """A connected gateway."""
    here = {
        "THE CONTENT OF irc.secret": site.secret,
        "5347": str(site.componentPort),
        "/var/lib/biboumi": str(tmp_path),
    }
    gateway = Biboumi(tmp_path, documented("ini", **here))
    try:
        site.waitUntil("connected")
        yield gateway
    finally:
        gateway.kill()


@pytest.fixture
def bert(irc: Ngircd) -> Iterator[IRCUser]:
    """Somebody on IRC, in two channels."""
    user = IRCUser(irc.port, "bert")
    user.send("JOIN #chan,#o@d")
    user.expect(" 366 bert #o@d ")
    yield user
    user.close()


def enter(alice: Talker, bert: IRCUser, room: str, channel: str) -> None:
    """Alice comes to the channel where bert is, and they see each other."""
    occupants = alice.ask("join", "joined", room=room, nick="alice")["occupants"]
    assert sorted(occupants) == ["alice", "bert"]
    bert.expect(f"JOIN :{channel}")


def converse(alice: Talker, bert: IRCUser, room: str, channel: str) -> None:
    """Text from each of them reaches the other as it is."""
    alice.tell("say", room=room, body=TEXT)
    assert bert.expect(f"PRIVMSG {channel} ").startswith(":alice!")
    alice.expect("message", sender=f"{room}/alice", type="groupchat", body=TEXT)
    bert.send(f"PRIVMSG {channel} :{TEXT[::-1]}")
    alice.expect("message", sender=f"{room}/bert", type="groupchat", body=TEXT[::-1])


def test_channels(
    site: GatewaySite, irc: Ngircd, biboumi: Biboumi, bert: IRCUser, login: Callable[..., Talker]
) -> None:
    """A gateway as a contact, a channel as a room: joined, spoken in, left; all again when the gateway has died."""
    alice = login("alice@localhost", at=site)
    alice.ask("askPing", "pong", to=GATEWAY)
    assert ["conference", "irc"] in alice.ask("discover", "features", to=GATEWAY)["identities"]
    alice.tell("subscribe", to=GATEWAY)
    alice.expect("presence", sender=GATEWAY, type="subscribed")
    alice.expect("presence", sender=GATEWAY, type="available")
    alice.expect("presence", sender=GATEWAY, type="subscribe")
    alice.tell("approve", to=GATEWAY)
    # It answers every presence that it gets; after its restart it asks for it by a probe.
    alice.expect("presence", sender=GATEWAY, type="available")
    alice.expectRoster({GATEWAY: "both"})
    settings = {"address": "127.0.0.1", "ports": str(irc.port), "tls_ports": ""}
    alice.ask("command", "commanded", to=f"{IRC}@{GATEWAY}", node="configure", **settings)
    for room, channel in ((ROOM, "#chan"), (ODD_ROOM, "#o@d")):
        enter(alice, bert, room, channel)
        converse(alice, bert, room, channel)
    alice.tell("chat", to=f"bert%{IRC}@{GATEWAY}", body="between us")
    bert.expect("PRIVMSG bert :between us")
    bert.send("PRIVMSG alice :yes")
    alice.expect("message", sender=f"bert%{IRC}@{GATEWAY}", type="chat", body="yes")
    alice.tell("leave", room=ODD_ROOM, nick="alice")
    bert.expect("PART #o@d")

    biboumi.kill()
    bert.expect("QUIT")
    site.waitUntil("absent")
    alice.tell("say", room=ROOM, body="is anybody there?")
    alice.expect("bounce", sender=ROOM, type="wait", condition="service-unavailable")
    biboumi.start()
    site.waitUntil("connected")
    alice.expect("presence", sender=GATEWAY, type="available")
    enter(alice, bert, ROOM, "#chan")
    converse(alice, bert, ROOM, "#chan")
    alice.logout()
    bert.expect("PART #chan")

    site.stop()
    site.start()
    site.waitUntil("connected")
    assert biboumi.child.running()
