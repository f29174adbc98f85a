"""One server process for all interoperability tests, fresh accounts for each, and clients that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.processes import Talker
from tests.interop.programs import SLIXMPP, Program
from tests.interop.servers import DOMAIN, Server, makeCertificates, startServer

POOL = 50


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running server; at the end it has to stop cleanly, with nothing ugly in its log."""
    running = startServer(tmp_path_factory.mktemp("server"))
    yield running
    status = running.stop()
    assert status == 0, f"exit status {status}\n{running.report()}"
    assert "Traceback" not in running.report(), running.report()


@pytest.fixture(scope="session")
def pool(server: Server) -> dict[str, Iterator[str]]:
    """Accounts made in one go, because a process for each of them takes longer than the tests."""
    names = {name: [f"{name}{number}" for number in range(1, POOL + 1)] for name in ("alice", "bob")}
    server.addUsers({local: local[::-1] for locals_ in names.values() for local in locals_})
    return {name: iter(locals_) for name, locals_ in names.items()}


@pytest.fixture
def account(pool: dict[str, Iterator[str]]) -> Callable[[str], str]:
    """Hands out accounts that no other test has; the password is the local part, backwards."""
    return lambda name: f"{next(pool[name])}@{DOMAIN}"


Login = Callable[..., Talker]


@pytest.fixture
def start(server: Server, tmp_path: Path) -> Iterator[Login]:
    """Starts client programs, without waiting for anything."""
    started: list[Talker] = []

    def begin(
        jid: str, program: Program = SLIXMPP, direct: bool = False, ca: Path | None = None, at: Server = server
    ) -> Talker:
        program.demand()
        login = {
            "jid": jid,
            "password": jid.partition("@")[0][::-1],
            "host": "127.0.0.1",
            "port": at.directPort if direct else at.port,
            "ca": str(ca or at.ca),
            "direct": direct,
        }
        environment = {"NODE_EXTRA_CA_CERTS": login["ca"]}
        talker = Talker(program.command, login, environment, tmp_path / f"client{len(started)}.log")
        started.append(talker)
        return talker

    yield begin
    for talker in started:
        talker.kill()


@pytest.fixture
def login(start: Login) -> Login:
    """Starts client programs that are available when they are handed out.

    The answer to the ping shows that the server has dealt with the presence sent before it.
    """

    def begin(*arguments: object, **options: object) -> Talker:
        talker = start(*arguments, **options)
        talker.expect("online")
        talker.ask("askPing", "pong", to=DOMAIN)
        return talker

    return begin


@pytest.fixture
def strangerCA(tmp_path: Path) -> Path:
    """A certificate authority that has signed nothing of the server's."""
    makeCertificates(tmp_path)
    return tmp_path / "ca.crt"
