"""Everybody loses the connection at once and comes back at once (hardening R18), several times."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.book import Book
from tests.chaos.client import Client, StreamOver
from tests.chaos.conftest import LONG, Say
from tests.chaos.victim import Victim

CLIENTS = 5000 if LONG else 500
#: Sessions of one account, and logins under way at a time.
RESOURCES = 10
WIDTH = 64
STORMS = 3
#: How much the server may be larger after the last storm than after the first.
FLAT = 1.15
ACCOUNTS = [f"storm{number}" for number in range(CLIENTS // RESOURCES)]

CONFIG = {"users": ACCOUNTS}
#: A build that forgets no connection.
KEEP = (
    "from xmppservice.edge.c2s import C2SFactory; kept = []; connected = C2SFactory.connected; "
    "C2SFactory.connected = lambda self, driver: (kept.append(b'x' * 100_000), connected(self, driver))[1]; "
)
#: A server that takes the storm for an attack: its limits are those of an ordinary one, and all come from one address.
LIMITED = {"limits": "per_address = 100", "enabled": True}


class Storm:
    """Many clients, each with a session that can be resumed."""

    def __init__(self, build: Victim) -> None:
        self.build = build
        book = Book("storm")
        self.clients = [Client(user, book, f"r{number}") for user in ACCOUNTS for number in range(RESOURCES)]
        self.refused: list[str] = []

    def come(self) -> float:
        """All log in, every other one to its former session if it has one; the seconds until the last was in."""
        begin = time.monotonic()
        with ThreadPoolExecutor(WIDTH) as pool:
            self.refused += [reason for reason in pool.map(self._login, range(len(self.clients))) if reason]
        return time.monotonic() - begin

    def _login(self, number: int) -> str:
        client = self.clients[number]
        try:
            if client.token and number % 2:
                answer = client.comeBack(self.build.port)
                return "" if answer == "resumed" else answer
            client.connect(self.build.port)
        except (OSError, StreamOver, AssertionError) as error:
            return f"{client.user}/{client.resource}: {type(error).__name__} {error}"
        return ""

    def break_(self) -> None:
        """All connections at once."""
        for client in self.clients:
            if client.sock is not None:
                client.cut(reset=True)


def _storms(build: Victim, count: int) -> tuple[Storm, list[float], list[int]]:
    """So many storms; the seconds of each, and the server's resident bytes behind each."""
    storm = Storm(build)
    storm.come()
    seconds, memory = [], []
    for _ in range(count):
        storm.break_()
        seconds.append(storm.come())
        memory.append(build.memory)
    return storm, seconds, memory


@pytest.mark.slow
@pytest.mark.parametrize("build", [CONFIG], indirect=True)
def test_allComeBack(build: Victim, say: Say) -> None:
    """R18: all are back, half of them in their former sessions, nobody is refused, and the memory stays what it was."""
    storm, seconds, memory = _storms(build, STORMS)
    times = ", ".join(f"{each:.1f}" for each in seconds)
    sizes = ", ".join(f"{each / 2**20:.0f}" for each in memory)
    say(f"{CLIENTS} clients come back at once, {STORMS} times: {len(storm.refused)} refused; "
        f"all back within {times} s; {sizes} MiB resident\n")  # fmt: skip
    storm.break_()
    assert not storm.refused, storm.refused[:10]
    assert memory[-1] < memory[0] * FLAT
    assert "Traceback" not in build.log, build.log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("build", [{**CONFIG, "sabotage": KEEP}], indirect=True)
def test_leakIsFoundOut(build: Victim, say: Say) -> None:
    """R18: a build that keeps something of each connection is seen to grow."""
    storm, _, memory = _storms(build, 2)
    storm.break_()
    say(f"sabotaged, storms: grown from {memory[0] / 2**20:.0f} to {memory[-1] / 2**20:.0f} MiB\n")
    assert memory[-1] >= memory[0] * FLAT


@pytest.mark.slow
@pytest.mark.parametrize("build", [{**CONFIG, **LIMITED}], indirect=True)
def test_refusalIsFoundOut(build: Victim, say: Say) -> None:
    """R18: a server that refuses some of them is seen to do so."""
    storm = Storm(build)
    storm.come()
    storm.break_()
    say(f"with limits: {len(storm.refused)} of {CLIENTS} refused\n")
    assert len(storm.refused) > CLIENTS // 10
