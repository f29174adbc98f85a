"""The stranger's way through README.rst: start, make an account, log in, stop, start again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import Login
from tests.interop.processes import waitFor
from tests.interop.servers import OwnServer

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif("XMPPSERVICE_INTEROP_SERVER" in os.environ, reason="is about our own server"),
]
ALICE = "alice@localhost"
PASSWORD = "ecila"


@pytest.fixture
def development(tmp_path: Path) -> Iterator[OwnServer]:
    """A server without any configuration, in an empty folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    running = OwnServer(folder, config=False)
    yield running
    running.stop()
    assert "Traceback" not in running.report(), running.report()


def test_strangerMakesAnAccountAndLogsIn(development: OwnServer, login: Login) -> None:
    """The server prints what to do; the printed command needs no option; the account works at once."""
    waitFor("the line that makes an account", lambda: "xmppctl user add alice@localhost" in development.report())
    assert str(development.ca) in development.report()
    development.ctl("user", "add", ALICE, text=f"{PASSWORD}\n{PASSWORD}\n")
    alice = login(ALICE, at=development)
    alice.logout()


def test_secondStartKeepsEverything(development: OwnServer, login: Login) -> None:
    """Accounts, acknowledged requests and messages, and the certificate authority are there after a restart."""
    development.addUsers({"alice": PASSWORD, "bob": "bob"})
    bob = login("bob@localhost", at=development)
    bob.tell("subscribe", to=ALICE)
    bob.tell("chat", to=ALICE, body="for later")
    bob.ask("askAcknowledgement", "acknowledged")
    authority = development.ca.read_bytes()
    assert development.stop() == 0
    bob.expect("ended")
    development.start()
    assert development.ca.read_bytes() == authority
    alice = login(ALICE, at=development)
    alice.expect("message", sender="bob@localhost", body="for later", delayed=True)
    alice.expect("presence", sender="bob@localhost", type="subscribe")


def test_stopsInGoodOrder(development: OwnServer, login: Login) -> None:
    """SIGTERM ends the process within ten seconds with status 0, although a client is connected."""
    development.addUsers({"alice": PASSWORD})
    alice = login(ALICE, at=development)
    begun = time.monotonic()
    assert development.stop() == 0
    assert time.monotonic() - begun < 10
    alice.expect("ended")
