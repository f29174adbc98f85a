"""One server process for all attacks, accounts for each of them, and a canary that must not notice anything.

``pytest tests/attack --server prosody`` (or ``ejabberd``) points the black-box tests at another server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.attack.compare import run
from tests.attack.raw import PATIENCE, RawClient
from tests.attack.servers import SERVERS, Attacked, start
from tests.attack.servers.own import AttackedServer
from tests.attack.table import ROWS

POOL = 320
CANARY_LIMIT = 2.0


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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which server is attacked."""
    parser.addoption("--server", default="own", choices=list(SERVERS), help="the server that tests/attack attacks")


def chosen(config: pytest.Config) -> str:
    """The name of the server; ours, where this folder was not named on the command line."""
    name: str = config.getoption("--server", "own")
    return name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What only our server can be asked is reported as not applicable to others."""
    if chosen(config) == "own":
        return
    for item in items:
        if mark := item.get_closest_marker("own"):
            item.add_marker(pytest.mark.skip(reason=f"not applicable to {chosen(config)}: {mark.args[0]}"))


def pytest_configure(config: pytest.Config) -> None:
    """Marks of these tests."""
    config.addinivalue_line("markers", "attack(id, ...): the entries of the catalogue that the test is about")
    config.addinivalue_line("markers", "own(why): needs our server's modules, log, configuration or limits")
    config.addinivalue_line("markers", "injected(count): so many tracebacks are wanted in the server's log")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """The running server; at the end it has to stop cleanly."""
    users = ["canary", *(f"user{number}" for number in range(1, POOL + 1))]
    name = chosen(request.config)
    running = start(name, tmp_path_factory.mktemp("attacked"), {user: user[::-1] for user in users})
    yield running
    status = running.stop()
    assert status == 0 or not running.own, f"exit status {status}\n{running.report()}"


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
    count = log.count(server.fault)
    assert count == (wanted.args[0] if wanted else 0), log
    assert "Unhandled" not in log or wanted or not server.own, log


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


@pytest.fixture(scope="session")
def reactions(server: AttackedServer) -> dict[str, str]:
    """All rows at once, a few at a time; those that wait for a deadline are in test_time.py, with shorter ones."""
    quick = [row for row in ROWS if not row.slow]
    names = [f"u{number}" for number in range(1, 2 * len(ROWS))]
    server.addUsers({name: name[::-1] for name in names})
    found = run(server, iter(names), quick, lambda line: None)
    return {row.key: reaction for row, reaction in zip(quick, found, strict=True)}
