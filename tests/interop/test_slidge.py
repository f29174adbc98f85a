"""A gateway with privileges (XEP-0356): slidge, between slixmpp and a network made up for this test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.processes import Child, Talker, freePort, waitFor
from tests.interop.programs import HERE, SLIDGE
from tests.server.site import Site

GATEWAY = "echo.localhost"
CONTACT = f"echo@{GATEWAY}"
TEXT = "<b>5 > 3 & \"2\" 'ü' \N{SLICE OF PIZZA}"


class GatewaySite(Site):
    """A server that expects the gateway and grants it what slidge's manual asks for; alice has an account."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None, listen=False)
        self.options = ["--config", "xmppservice.toml"]
        self.componentPort, self.secret = freePort(), secrets.token_hex(24)
        path = folder / "gateway.secret"
        path.touch(0o600)
        path.write_text(self.secret, "utf-8")
        self.configure('roster = "both"\nmessage = "outgoing"\niq = [["jabber:iq:private", "both"]]\n')
        self.start()
        self.command("user add", jid="alice@localhost", password="ecila")

    def configure(self, rights: str) -> None:
        """Write the configuration, with these rights."""
        self.write(
            f'[listen]\nc2s = ["tcp:{self.port}:interface=127.0.0.1"]\n'
            f'c2s_tls = ["tcp:{self.directPort}:interface=127.0.0.1"]\n'
            f'component = ["tcp:{self.componentPort}:interface=127.0.0.1"]\n'
            f'[hosts.localhost]\n[ports."{GATEWAY}"]\nkind = "component"\nsecret_file = "gateway.secret"\n{rights}'
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[GatewaySite]:
    """A running server; it has to stop cleanly."""
    SLIDGE.demand()
    site = GatewaySite(tmp_path / "server")
    try:
        yield site
        site.stop()
    finally:
        site.end()


@pytest.fixture
def slidge(tmp_path: Path, site: GatewaySite) -> Iterator[Child]:
    """A connected gateway."""
    options = {
        "legacy-module": "dummy_network", "jid": GATEWAY, "secret": site.secret, "server": "127.0.0.1",
        "port": str(site.componentPort), "home-dir": str(tmp_path / "slidge"), "user-jid-validator": ".*@localhost",
    }  # fmt: skip
    command = [*SLIDGE.command, "--debug", *(word for key, value in options.items() for word in (f"--{key}", value))]
    environment = {"PYTHONPATH": str(HERE / "peers"), "SLIDGE_CONF_DIR": str(tmp_path / "none")}
    gateway = Child(command, tmp_path / "slidge.log", tmp_path, environment)
    try:
        waitFor("slidge to be there", lambda: "successfully started" in gateway.output or not gateway.running())
        assert gateway.running(), gateway.output[-4000:]
        yield gateway
    finally:
        gateway.process.kill()
        gateway.process.wait()


def test_privileges(site: GatewaySite, slidge: Child, login: Callable[..., Talker]) -> None:
    """Registered, alice has the contact in her roster without a question; they talk, also in her name."""
    alice = login("alice@localhost", at=site)
    assert alice.ask("register", "registered", to=GATEWAY, username="alice", password="shut")["condition"]
    assert not alice.ask("register", "registered", to=GATEWAY, username="alice", password="open")["condition"]
    alice.expectRoster({GATEWAY: "both", CONTACT: "both"})
    alice.expect("presence", sender=CONTACT, type="available")
    alice.tell("chat", to=CONTACT, body=TEXT)
    alice.expect("message", sender=CONTACT, type="chat", body=TEXT)
    alice.tell("chat", to=CONTACT, body="app:said in another program")
    # The gateway says it in alice's name (section 5), and hears it as one of hers.
    heard = ("RECV: <message", 'from="alice@localhost"', f'to="{CONTACT}"', "<body>said in another program</body>")
    waitFor(
        "the message in alice's name",
        lambda: any(all(part in line for part in heard) for line in slidge.output.splitlines()),
    )
    # Reads the roster (section 4.3), and finds nothing to mend.
    alice.tell("chat", to=GATEWAY, body="sync-contacts")
    waitFor("the question", lambda: "Are you sure" in alice.expect("message", sender=GATEWAY)["body"])
    alice.tell("chat", to=GATEWAY, body="yes")
    waitFor("the answer", lambda: "0 added, 0 removed, 0 updated" in alice.expect("message", sender=GATEWAY)["body"])
    site.configure("")
    site.command("reload")
    waitFor("the rights to be gone", lambda: "type='none'" in slidge.output or 'type="none"' in slidge.output)
    alice.logout()
