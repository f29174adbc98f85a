"""Recipients that come and go under load: what is kept for them and what comes live keeps its order."""

from __future__ import annotations

import random

import pytest

from tests.chaos.book import Book
from tests.chaos.client import Client, Loop, Sender
from tests.chaos.conftest import Say
from tests.chaos.rounds import AWAY, SENDERS
from tests.chaos.victim import Victim

#: How often somebody comes or goes.
MOVES = 120
#: A session that is not resumed dies within the test.
SHORT = '[modules.stream_management]\nresumption = "1 s"\nqueue_size = "64 MiB"\nqueue_stanzas = 100_000'


@pytest.mark.slow
@pytest.mark.parametrize("build", [{"more": SHORT}], indirect=True)
def test_comingAndGoing(build: Victim, chance: random.Random, say: Say) -> None:
    """Logins, orderly ends, cuts and resumptions under load: nothing is lost, pairs keep their order."""
    book = Book("m")
    recipients = [Client(user, book, delay=chance.choice((0.0, 0.02))) for user in AWAY[:4]]
    senders = [Sender(user, book, AWAY[:4], 40) for user in SENDERS[:2]]
    for sender in senders:
        sender.connect(build.port)
    loop = Loop([*senders, *recipients])
    for _ in range(MOVES):
        loop.pause(chance.uniform(0.0, 0.06))
        _move(chance.choice(recipients), build.port, chance)
    for sender in senders:
        sender.active = False
        sender.ask()
    loop.run(lambda: all(not sender.open for sender in senders), 10.0)
    for client in recipients:
        if client.sock is None:
            client.comeBack(build.port) if client.token else client.connect(build.port)
    loop.run(lambda: not book.missing(), 10.0, must=False)
    loop.pause(0.5)
    verdict = book.judge()
    say(f"{MOVES} moves under load: {verdict}\n")
    assert not verdict.lost, verdict.lost[:20]
    assert verdict.clean, (verdict.reordered[:20], verdict.forged[:20])


def _move(client: Client, port: int, chance: random.Random) -> None:
    """Who is away comes, anew or to its former session; who is there goes, in order or not."""
    if client.sock is None:
        if client.token and chance.random() < 0.6:
            client.comeBack(port)
        else:
            client.connect(port)
    elif chance.random() < 0.5:
        client.cut(chance.random() < 0.5)
    else:
        client.quit()
        client.token = ""
