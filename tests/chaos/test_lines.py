"""Bad lines, by way of a proxy: cuts at any byte (hardening R04), and connections that are half open (R19)."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import victim as builds
from tests.chaos.book import Book, Verdict
from tests.chaos.client import Client, Loop, Sender, StreamOver
from tests.chaos.conftest import LONG, Say
from tests.chaos.proxy import Proxy
from tests.chaos.rounds import SENDERS, settle
from tests.chaos.victim import Victim

#: Resumptions that must succeed, all of them; and those within which a build that forgets must have lost something.
RESUMPTIONS = 1000 if LONG else 150
FEW = 20
#: The fewest bytes before a cut; a login with its resumption takes about 1,000 up and 2,000 down.
SHORTEST = 300
#: The recipients, and how long each lets the server wait for acknowledgements.
RECIPIENTS = {"prompt0": 0.0, "slow0": 0.02, "slow1": 0.05}
LARGE = '[modules.stream_management]\nqueue_size = "64 MiB"\nqueue_stanzas = 100_000'

Lines = tuple[Victim, Proxy]


@pytest.fixture
def lines(build: Victim, chance: random.Random) -> Iterator[Lines]:
    """A server, and a proxy in front of it that cuts every connection sooner or later."""

    def plan() -> tuple[int | None, int | None, bool]:
        # Short ones are as likely as long ones, so that logins and resumptions are cut as well.
        up = chance.random() < 0.5
        bytes = int(SHORTEST * 2 ** chance.uniform(0, 4 if up else 6))
        return (bytes if up else None), (None if up else bytes), chance.random() < 0.5

    proxy = Proxy(build.port, plan)
    yield build, proxy
    proxy.end()


def _resumed(client: Client, port: int) -> int:
    """Come back, trying again while the line breaks; returns how many tries it took."""
    for number in range(1, 200):
        try:
            assert client.comeBack(port) == "resumed"
        except (OSError, StreamOver):
            continue
        return number
    pytest.fail(f"{client.user} could not resume")


def _cuts(lines: Lines, count: int) -> tuple[Verdict, int, float]:
    """So many resumptions under load; the verdict, the broken tries, and the slowest success with all its tries."""
    build, proxy = lines
    book = Book("l")
    senders = [Sender(user, book, list(RECIPIENTS), 20) for user in SENDERS[:3]]
    clients: list[Client] = [*(Client(user, book, delay=delay) for user, delay in RECIPIENTS.items()), *senders]
    for client in clients:
        client.connect(build.port)
        client.drop()
    loop = Loop(clients)
    resumptions = broken = 0
    slowest = 0.0
    while resumptions < count:
        for client in clients:
            assert not client.ended, (client.user, client.ended)
            if client.sock is None:
                begin = time.monotonic()
                broken += _resumed(client, proxy.port) - 1
                slowest = max(slowest, time.monotonic() - begin)
                resumptions += 1
        loop.run(lambda: any(client.sock is None for client in clients), 0.05, must=False)
    for client in clients:
        if client.sock is not None:
            client.drop()
        assert client.comeBack(build.port) == "resumed"
    settle(book, senders, loop)
    for client in clients:
        client.quit()
    return book.judge(), broken, slowest


@pytest.mark.slow
@pytest.mark.parametrize("build", [{"more": LARGE}], indirect=True)
def test_cutAtAnyByte(lines: Lines, say: Say) -> None:
    """R04: lines that break at any byte, up or down, in stanzas, logins and resumptions: every session comes back,
    and nothing is missing, doubled or out of order."""
    verdict, broken, slowest = _cuts(lines, RESUMPTIONS)
    say(f"{RESUMPTIONS} of {RESUMPTIONS} resumptions, {broken} tries cut in their midst: {verdict}; "
        f"slowest resumption with all its tries {slowest:.2f} s\n")  # fmt: skip
    assert verdict.clean, verdict
    assert verdict.duplicated == 0
    assert verdict.sent == verdict.acked == verdict.arrived
    assert "Traceback" not in lines[0].log, lines[0].log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("build", [{"sabotage": builds.FORGET_ON_RESUME, "more": LARGE}], indirect=True)
def test_forgettingIsFoundOut(lines: Lines, say: Say) -> None:
    """R04: a build that sends nothing again after a resumption is seen to lose messages."""
    verdict, _, _ = _cuts(lines, FEW)
    say(f"sabotaged, {FEW} resumptions: {verdict}\n")
    assert verdict.lost


# -- half-open connections ----------------------------------------------------------------------------

#: Silence, answer and resumption as short as they can be: a session ends at most so many seconds after its last word.
SILENT = 'silence = "10 s"\nping_time = "1 s"'
#: The sessions' end comes then, with room for a slow machine.
GIVEN_UP = 60.0
PEERS = [f"peer{number}" for number in range(200 if LONG else 8)]
HALF_OPEN = {"limits": SILENT, "more": f'{LARGE}\nresumption = "1 s"', "users": [SENDERS[0], *PEERS]}


class HalfOpen:
    """A sender, and recipients whose connections stop working without a word."""

    def __init__(self, build: Victim, proxy: Proxy) -> None:
        self.build, self.proxy = build, proxy
        self.book = Book("o")
        self.recipients = [Client(user, self.book) for user in PEERS]
        self.sender = Client(SENDERS[0], self.book)
        self.sender.connect(build.port)
        #: Sockets without the recipients.
        self.before = self.sockets
        for client in self.recipients:
            client.connect(proxy.port)
        self.loop = Loop([self.sender, *self.recipients])

    @property
    def sockets(self) -> int:
        """Open sockets of the server."""
        assert self.build.process is not None
        folder = Path(f"/proc/{self.build.process.pid}/fd")
        count = 0
        for entry in folder.iterdir():
            try:
                count += os.readlink(entry).startswith("socket:")
            except OSError:
                continue
        return count

    def send(self) -> None:
        """One message to each recipient's session, acknowledged."""
        for client in self.recipients:
            self.sender.write(self.sender.message(client.user, client.resource))
        self.sender.ask()
        self.loop.run(lambda: not self.sender.open, 10.0)

    def swallow(self, chance: random.Random) -> None:
        """The lines fall silent one by one, while messages come."""
        links = list(self.proxy.links)
        assert len(links) == len(PEERS)
        chance.shuffle(links)
        for number, link in enumerate(links):
            link.hole = True
            # Not too often: those who notice are to come back before their silence is over.
            if number % (len(PEERS) // 8) == 0:
                self.send()
        for client in self.recipients:
            client.drop()

    def comeBack(self, clients: list[Client], answer: str) -> None:
        """These notice, and come back on another line."""
        for client in clients:
            assert client.comeBack(self.build.port) == answer

    def outlive(self, sockets: int) -> float:
        """Send on until the server has given up its side of the silent lines; returns the seconds."""
        begin = time.monotonic()
        while self.sockets > sockets:
            assert time.monotonic() < begin + GIVEN_UP, f"{self.sockets} sockets instead of {sockets}"
            self.send()
            self.loop.pause(0.5)
        return time.monotonic() - begin

    def judge(self) -> Verdict:
        """Wait for what is missing."""
        self.loop.run(lambda: not self.book.missing(), 5.0, must=False)
        self.loop.pause(0.2)
        return self.book.judge()


@pytest.fixture
def halfOpen(build: Victim, chance: random.Random) -> Iterator[HalfOpen]:
    """Lines that have all fallen silent; half of the recipients have noticed and come back, the others are away."""
    proxy = Proxy(build.port)
    scene = HalfOpen(build, proxy)
    scene.swallow(chance)
    yield scene
    proxy.end()


@pytest.mark.slow
@pytest.mark.parametrize("build", [HALF_OPEN], indirect=True)
def test_halfOpen(halfOpen: HalfOpen, say: Say) -> None:
    """R19: who notices first resumes from a session that the server thinks is well; the others' sessions end after
    their silence, free their sockets, and leave their messages to the offline storage."""
    half = len(PEERS) // 2
    quick, late = halfOpen.recipients[:half], halfOpen.recipients[half:]
    halfOpen.comeBack(quick, "resumed")
    seconds = halfOpen.outlive(halfOpen.before + half)
    halfOpen.loop.pause(2.5)
    halfOpen.send()
    halfOpen.comeBack(late, "item-not-found")
    verdict = halfOpen.judge()
    say(f"{len(PEERS)} half-open connections, {half} resumed, the others given up within {seconds:.1f} s: {verdict}\n")
    assert verdict.clean, verdict
    assert verdict.sent == verdict.acked == verdict.arrived
    assert "Traceback" not in halfOpen.build.log, halfOpen.build.log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("build", [{**HALF_OPEN, "sabotage": builds.FORGET_ON_RESUME}], indirect=True)
def test_forgettingHalfOpenIsFoundOut(halfOpen: HalfOpen, say: Say) -> None:
    """R19: a build that forgets what went into the silence is seen to lose messages."""
    halfOpen.comeBack(halfOpen.recipients, "resumed")
    verdict = halfOpen.judge()
    say(f"sabotaged, {len(PEERS)} half-open connections: {verdict}\n")
    assert verdict.lost
