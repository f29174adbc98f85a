"""A server for tests of clients: each freedom is one key."""

from __future__ import annotations

import os
import socket
from html import escape

from tests.attack.raw import RawClient, header
from tests.server.conftest import MakeSite
from tests.server.site import PASSWORD, Site
from xmppservice.wire import ns

#: An address of this process: the ports are the usual ones.
ADDRESS = f"127.88.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
BED = f"""
[database]
url = "sqlite-memory"
[listen]
interface = "{ADDRESS}"
[tls]
policy = "optional"
development_certificates = true
[limits]
enabled = false
[hosts."bed.test".register]
open = true
secure_only = false
"""


def _connect(address: str = "127.0.0.1") -> RawClient:
    """A client on the default port of the bed's address."""
    client = RawClient.__new__(RawClient)
    client.address = address
    client.socket = socket.create_connection((ADDRESS, 5222), 30, (address, 0))
    client.closed = client.reset = False
    client.jid = ""
    client.restart()
    return client


def _register(site: Site, user: str) -> RawClient:
    client = _connect()
    client.open("bed.test")
    assert client.features.find(ns.TLS, "starttls") is not None
    fields = f"<username>{user}</username><password>{escape(PASSWORD)}</password>"
    assert client.ask("set", f"<query xmlns='{ns.REGISTER}'>{fields}</query>").get("type") == "result"
    return client


def test_bed(make: MakeSite) -> None:
    """Any loopback address with the default ports, nothing kept, no TLS, accounts by clients, no limits."""
    site = make(BED, False)
    site.start()
    with socket.create_connection((ADDRESS, 5223), 30):
        pass
    client = _register(site, "first")
    assert client.scram("first", PASSWORD).name == "success"
    client.restart()
    client.open("bed.test")
    client.bind("r")
    client.available()
    for number in range(8):
        _register(site, f"more{number}").close()
    for _ in range(5):
        # Failed tries are not slowed down, and connections not counted.
        other = _connect()
        other.open("bed.test")
        assert other.scram("first", "wrong").name == "failure"
    crowd = [_connect() for _ in range(150)]
    crowd[-1].send(header("bed.test"))
    assert crowd[-1].next() is not None
    for number in range(12):
        crowd.append(again := _connect())
        again.open("bed.test")
        assert again.scram("first", PASSWORD).name == "success"
        again.restart()
        again.open("bed.test")
        again.bind(f"r{number}")
    assert len(site.command("sessions").rows) == 13
    for each in crowd:
        each.close()
    site.stop()
    assert not list((site.folder / "var").glob("*.sqlite3*"))
    assert site.ctl("user", "list").returncode == 1, "there is nothing to open"
