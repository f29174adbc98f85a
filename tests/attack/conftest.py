"""One server process for all attacks, accounts for each of them, and a canary that must not notice anything."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attack.raw import DOMAIN, PATIENCE, RawClient
from tests.interop.servers import OwnServer

POOL = 160
CANARY_LIMIT = 2.0
CONFIG = """
[limits]
queue = "64 KiB"
[modules.offline]
limit = 20
[hosts.localhost]
enable = ["tests.attack.faulty"]
[hosts."other.test"]
[hosts."open.test"]
enable = ["register"]
[hosts."open.test".register]
open = true
attempts = 0
"""


class AttackedServer(OwnServer):
    """The real process with further hosts and limits that are reached soon."""

    extra = CONFIG

    def start(self) -> None:
        """Lays our configuration over the one that ``xmppctl init`` wrote."""
        folder = self.folder / "conf.d"
        folder.mkdir(exist_ok=True)
        (folder / "attack.toml").write_text(self.extra, encoding="utf-8")
        super().start()
        self._read = 0

    def news(self) -> str:
        """What was logged since this was asked last."""
        with self.child.log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        self._read += len(data)
        return data.decode("utf-8", "replace")

    @property
    def memory(self) -> int:
        """Resident memory in bytes."""
        pages = Path(f"/proc/{self.child.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """How many files and sockets are open."""
        return len(os.listdir(f"/proc/{self.child.process.pid}/fd"))

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        fields = Path(f"/proc/{self.child.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # -- clients -----------------------------------------------------------------------------

    def plain(self, to: str = DOMAIN, address: str | None = None) -> RawClient:
        """A stream before TLS, with its features."""
        client = RawClient(self.port, address)
        client.open(to)
        return client

    def secured(self, to: str = DOMAIN, address: str | None = None) -> RawClient:
        """A stream after STARTTLS, before authentication."""
        client = self.plain(to, address)
        client.startTLS(self.ca, to)
        client.open(to)
        return client

    def direct(self, to: str = DOMAIN, address: str | None = None) -> RawClient:
        """A stream over direct TLS, before authentication."""
        client = RawClient(self.directPort, address)
        client.wrap(self.ca, to)
        client.open(to)
        return client

    def authenticated(self, user: str, address: str | None = None) -> RawClient:
        """A stream that could bind now."""
        client = self.direct(address=address)
        client.authenticate(user)
        return client

    def login(self, user: str, resource: str = "", address: str | None = None) -> RawClient:
        """A bound stream over direct TLS."""
        client = self.authenticated(user, address)
        client.bind(resource)
        return client


class Canary:
    """A client in a thread of its own that pings all the time and notes how long the answers take."""

    def __init__(self, server: AttackedServer) -> None:
        self._client = server.login("canary")
        self._client.available()
        self._over = threading.Event()
        self._asked = 0.0
        self.worst = 0.0
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._sing, daemon=True)
        self._thread.start()

    def _sing(self) -> None:
        try:
            while not self._over.wait(0.05):
                self._asked = time.monotonic()
                self._client.ping()
                self.worst = max(self.worst, time.monotonic() - self._asked)
                self._asked = 0.0
        except Exception as failure:
            self.failure = failure

    def begin(self) -> None:
        """A test begins."""
        self.worst = 0.0

    def check(self) -> None:
        """A test ends: the canary must have been served all the time, and quickly."""
        assert self.failure is None, self.failure
        waiting = time.monotonic() - self._asked if self._asked else 0.0
        assert max(self.worst, waiting) < CANARY_LIMIT, "another client was kept waiting"

    def stop(self) -> None:
        """The end."""
        self._over.set()
        self._thread.join(PATIENCE)
        self._client.close()


def pytest_configure(config: pytest.Config) -> None:
    """Marks of these tests."""
    config.addinivalue_line("markers", "injected(count): so many tracebacks are wanted in the server's log")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackedServer]:
    """The running server; at the end it has to stop cleanly."""
    running = AttackedServer(tmp_path_factory.mktemp("attacked"))
    users = ["canary", *(f"user{number}" for number in range(1, POOL + 1))]
    running.addUsers({user: user[::-1] for user in users})
    yield running
    status = running.stop()
    assert status == 0, f"exit status {status}\n{running.report()}"


@pytest.fixture(scope="session")
def canary(server: AttackedServer) -> Iterator[Canary]:
    """A client that nothing may disturb."""
    bird = Canary(server)
    yield bird
    bird.stop()


@pytest.fixture(autouse=True)
def undisturbed(request: pytest.FixtureRequest, server: AttackedServer, canary: Canary) -> Iterator[None]:
    """No attack leaves a traceback in the log, unless it is marked as injected, or keeps another client waiting."""
    canary.begin()
    server.news()
    yield
    canary.check()
    log = server.news()
    wanted = request.node.get_closest_marker("injected")
    count = log.count("Traceback (most recent call last)")
    assert count == (wanted.args[0] if wanted else 0), log
    assert "Unhandled" not in log or wanted, log


@pytest.fixture(scope="session")
def pool() -> Iterator[str]:
    """Accounts that nobody has used."""
    return iter([f"user{number}" for number in range(1, POOL + 1)])


@pytest.fixture
def user(pool: Iterator[str]) -> Callable[[], str]:
    """Hands out accounts that no other test has."""
    return lambda: next(pool)


STAGES = ("plain", "secured", "direct")


@pytest.fixture(params=STAGES)
def stranger(request: pytest.FixtureRequest, server: AttackedServer) -> Iterator[RawClient]:
    """An opened stream before authentication, on each transport."""
    client = getattr(server, request.param)()
    yield client
    client.close()


@pytest.fixture
def clients(server: AttackedServer, user: Callable[[], str]) -> Iterator[Callable[..., RawClient]]:
    """Logs in as fresh accounts, or as a given one; all are closed in the end."""
    made: list[RawClient] = []

    def login(name: str = "", resource: str = "", presence: bool = True) -> RawClient:
        client = server.login(name or user(), resource)
        made.append(client)
        if presence:
            client.available()
        return client

    yield login
    for client in made:
        client.close()


@pytest.fixture(scope="session")
def spare(pool: Iterator[str]) -> str:
    """One account for all streams that are refused."""
    return next(pool)


@pytest.fixture
def quick(server: AttackedServer, spare: str) -> Iterator[RawClient]:
    """A bound stream that is not meant to live long."""
    client = server.login(spare)
    yield client
    client.close()
