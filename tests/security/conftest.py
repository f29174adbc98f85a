"""Two server processes: one as strict as they come, and one with all that is off by default."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from tests.attack.raw import DOMAIN, password
from tests.interop.servers import OwnServer
from tests.security.certificates import Authority
from tests.security.tlsclient import SecureClient, contextFor

POOL = 20
NAMED = ("shutter", "changing")
"""Accounts that one test changes."""
RSA = "rsa.test"
IDN = "bücherstraße.test"
STRICT = """
[tls]
client_certificates = "{clients}"
[hosts."{rsa}"]
[hosts."{idn}"]
"""
LAX = """
[tls]
policy = "optional"
[auth]
anonymous = true
mechanisms = ["SCRAM-SHA-256", "PLAIN"]
"""


class SecuredServer(OwnServer):
    """The real process with some configuration of a test's own."""

    def __init__(self, folder: Path, extra: str) -> None:
        self.extra = extra
        self.clients: list[SecureClient] = []
        self.read = 0
        super().__init__(folder)

    def start(self) -> None:
        """Lays `extra` over what ``xmppctl init`` wrote."""
        folder = self.folder / "conf.d"
        folder.mkdir(exist_ok=True)
        (folder / "security.toml").write_text(self.extra, encoding="utf-8")
        super().start()

    def connect(self, direct: bool = False, address: str | None = None) -> SecureClient:
        """A connection on which nothing has been said."""
        client = SecureClient(self.directPort if direct else self.port, address)
        self.clients.append(client)
        return client

    def plain(self, to: str = DOMAIN, address: str | None = None) -> SecureClient:
        """A stream before TLS, with its features."""
        client = self.connect(address=address)
        client.domain = to
        client.open(to)
        return client

    def secured(
        self, direct: bool = True, to: str = DOMAIN, context: SSL.Context | None = None, address: str | None = None
    ) -> SecureClient:
        """A stream after TLS, with its features; the context is for TLS 1.3 unless it is given."""
        context = context or contextFor(self.ca)
        if direct:
            client = self.connect(True, address)
            client.secure(context, to)
            client.domain = to
        else:
            client = self.plain(to, address)
            client.startSecure(context, to)
        client.open(to)
        return client

    def news(self) -> str:
        """What was logged since this was asked last."""
        data = self.child.log.read_bytes()
        fresh, self.read = data[self.read :], len(data)
        return fresh.decode("utf-8", "replace")

    def rested(self) -> None:
        """A test is over: nothing of it stays, and nothing ugly is in the log."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        log = self.news()
        assert "Traceback" not in log, log
        assert "Unhandled" not in log, log


def _run(folder: Path, extra: str, prepare: Callable[[Path], None]) -> Iterator[SecuredServer]:
    prepare(folder)
    running = SecuredServer(folder, extra)
    users = {f"user{number}": f"user{number}"[::-1] for number in range(POOL)}
    running.addUsers({**users, **dict.fromkeys(NAMED, "secret word"), "ümlaut": "pässwört"})
    yield running
    status = running.stop()
    assert status == 0, f"exit status {status}\n{running.report()}"


@pytest.fixture(scope="session")
def clientCA() -> Authority:
    """Who signs clients' certificates."""
    return Authority("clients")


@pytest.fixture(scope="session")
def rsaCA() -> Authority:
    """Who signed the certificate of the host with the RSA key."""
    return Authority("servers")


@pytest.fixture(scope="session")
def strictServer(
    tmp_path_factory: pytest.TempPathFactory, clientCA: Authority, rsaCA: Authority
) -> Iterator[SecuredServer]:
    """TLS required, certificates of clients welcome; a second host has an RSA key and a SHA-512 signature."""
    other = tmp_path_factory.mktemp("authorities")
    clients = clientCA.own.write(other, "clients")

    def prepare(folder: Path) -> None:
        (folder / "certs").mkdir()
        key = rsa.generate_private_key(65537, 2048)
        rsaCA.server(RSA, key, hashes.SHA512()).write(folder / "certs", RSA)

    yield from _run(tmp_path_factory.mktemp("strict"), STRICT.format(clients=clients, rsa=RSA, idn=IDN), prepare)


@pytest.fixture(scope="session")
def laxServer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredServer]:
    """TLS optional, guests welcome, few mechanisms."""
    yield from _run(tmp_path_factory.mktemp("lax"), LAX, lambda folder: None)


@pytest.fixture
def server(strictServer: SecuredServer) -> Iterator[SecuredServer]:
    """The strict server, for one test."""
    yield strictServer
    strictServer.rested()


@pytest.fixture
def lax(laxServer: SecuredServer) -> Iterator[SecuredServer]:
    """The lax server, for one test."""
    yield laxServer
    laxServer.rested()


@pytest.fixture(scope="session")
def pool() -> Iterator[str]:
    """Accounts that exist on both servers, in turn."""
    return itertools.cycle([f"user{number}" for number in range(POOL)])


@pytest.fixture
def user(pool: Iterator[str]) -> str:
    """An account for one test; its password is the name backwards."""
    return next(pool)


@pytest.fixture
def other(pool: Iterator[str]) -> str:
    """Another account."""
    return next(pool)


@pytest.fixture(params=["starttls", "direct"])
def direct(request: pytest.FixtureRequest) -> bool:
    """Both ways to TLS."""
    return bool(request.param == "direct")


@pytest.fixture
def secret(user: str) -> Any:
    """The password of `user`."""
    return password(user)
