"""Two servers of ours, one for each policy, and the servers around them, which the tests play.

The fixtures `server` and `canary` stand for those of `tests.attack`, so that everything here is watched as there: no
traceback, no other client that has to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.attack.conftest import Canary, chosen
from tests.attack.peer import RawPeer, RawServer
from tests.attack.raw import RawClient, password
from tests.attack.s2s.writer import Writer
from tests.attack.servers.federating import FederatingServer, Town
from tests.dns import serving

_USERS = 6


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All of this needs our configuration."""
    for item in items:
        if "attack/s2s" in item.path.as_posix() and chosen(config) != "own":
            item.add_marker(pytest.mark.skip(reason=f"not applicable to {chosen(config)}: needs our [s2s]"))


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Everybody else."""
    around = Town(tmp_path_factory.mktemp("around"))
    with serving(around.places.zone()) as around.resolver:
        yield around
    around.leave()


def _running(tmp_path_factory: pytest.TempPathFactory, town: Town, policy: str) -> FederatingServer:
    running = FederatingServer(tmp_path_factory.mktemp(policy), town, policy)
    users = ["canary", *(f"user{number}" for number in range(1, _USERS + 1))]
    running.addUsers({user: password(user) for user in users})
    return running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, town: Town) -> Iterator[FederatingServer]:
    """Our server; others need a valid certificate."""
    running = _running(tmp_path_factory, town, "certificates")
    yield running
    assert running.stop() == 0, running.report()


@pytest.fixture(scope="session")
def canary(server: FederatingServer) -> Iterator[Canary]:
    """A client that nothing may disturb."""
    bird = Canary(server)
    yield bird
    bird.stop()


@pytest.fixture(scope="session")
def easy(tmp_path_factory: pytest.TempPathFactory, town: Town) -> Iterator[FederatingServer]:
    """Our server where dialback is enough."""
    running = _running(tmp_path_factory, town, "dialback")
    yield running
    assert running.stop() == 0, running.report()
    assert running.fault not in running.report() and "Unhandled" not in running.report(), running.report()


@pytest.fixture
def neighbours(town: Town) -> Iterator[Callable[[], RawServer]]:
    """Hands out servers that nobody has spoken to; they are gone when the test is over."""
    taken: list[RawServer] = []

    def take() -> RawServer:
        taken.append(town.neighbour())
        return taken[-1]

    yield take
    for server in taken:
        server.close()


@pytest.fixture
def clients(server: FederatingServer) -> Iterator[Callable[..., RawClient]]:
    """Logs in at a server, by default the strict one, with accounts in turn; all are closed in the end."""
    made: list[RawClient] = []

    def login(at: FederatingServer | None = None) -> RawClient:
        client = (at or server).login(f"user{2 + len(made) % (_USERS - 1)}")
        made.append(client)
        client.available()
        return client

    yield login
    for client in made:
        client.close()


@pytest.fixture(scope="session")
def victim(server: FederatingServer) -> Iterator[RawClient]:
    """A user to whom forged messages are sent."""
    client = server.login("user1")
    client.available()
    yield client
    client.close()


@pytest.fixture(scope="module")
def alice(server: FederatingServer) -> Iterator[Writer]:
    """Who writes to other servers."""
    client = server.login("user3")
    user = Writer(client)
    yield user
    user.settle()
    client.close()


@pytest.fixture(scope="module")
def ann(easy: FederatingServer) -> Iterator[Writer]:
    """Who does so where dialback is enough."""
    client = easy.login("user3")
    user = Writer(client)
    yield user
    user.settle()
    client.close()


STAGES = ("plain", "secured", "direct")


@pytest.fixture(params=STAGES)
def stranger(request: pytest.FixtureRequest, server: FederatingServer) -> Iterator[RawPeer]:
    """A stream of a server that has proved nothing, on each transport."""
    domain = "stranger.test"
    peer = server.caller(domain) if request.param == "plain" else server.covered(
        domain, domain, direct=request.param == "direct")  # fmt: skip
    yield peer
    peer.close()


@pytest.fixture
def known(server: FederatingServer) -> Iterator[RawPeer]:
    """A stream of a server that has proved its domain, for both directions."""
    peer = server.proved("known.test", bidi=True)
    yield peer
    peer.close()
