"""Lines between two servers of ours that break (hardening R26): whatever happens, an acknowledged message arrives or
comes back, perhaps twice, and in the end nothing waits any more."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.book import Book, Verdict
from tests.chaos.client import Client, Loop, Sender
from tests.chaos.conftest import LONG, Say
from tests.chaos.twins import ONE, TWO, Federated, Twins

CUTS = 250 if LONG else 10
#: How often a server is killed, or stopped and started: twice this, then twice that.
BLOWS = 12 if LONG else 4
#: How long it may take until all is settled, once the lines hold: the longest pause between attempts, and the queue's
#: time, on a slow machine.
PATIENCE = 120.0
#: Shortest and longest pauses matter less here than in a real network.
DIALBACK = 'authentication = "dialback"\n'
WAYS = {
    "certificates, both directions": "",
    "certificates, one direction": "bidi = false\n",
    "dialback, both directions": DIALBACK,
    "dialback, one direction": f"{DIALBACK}bidi = false\n",
}
#: Those of `make test`.
FEW = ("certificates, one direction", "dialback, both directions")
FORGET = "from tests.chaos.inside import links; links.forget(); "
PARK = "from tests.chaos.inside import links; links.park(); "


class Plan:
    """Cuts every connection at some byte, in its negotiation or later, until the lines shall hold."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.cutting = True

    def __call__(self) -> tuple[int | None, int | None, bool]:
        if not self.cutting:
            return None, None, False
        chance = self._chance
        early = chance.random() < 0.25
        up = chance.random() < 0.5
        # Where one direction is used, all that comes back is acknowledgements.
        bytes = int(chance.uniform(100, 4000) if early else 4000 * 2 ** chance.uniform(0, 4 if up else 2))
        return (bytes if up else None), (None if up else bytes), chance.random() < 0.5


class Talk:
    """Two senders and two readers on each side; each sender writes to both readers of the other side."""

    def __init__(self, folder: Path, chance: random.Random, s2s: str, sabotage: str = "", window: int = 60) -> None:
        self.plan = Plan(chance)
        self.twins = Twins(folder, self.plan, s2s, sabotage)
        self.book = RemoteBook("s")
        self.senders: list[Sender] = []
        self.readers: list[Client] = []
        self.loop = Loop([])
        try:
            self._enter(window)
        except Exception:
            self.twins.end()
            raise

    def _enter(self, window: int) -> None:
        for site, other in zip(self.twins.sites, (TWO, ONE), strict=True):
            for number in range(2):
                self.readers.append(Client(f"reader{number}@{site.domain}", self.book))
                to = [f"reader0@{other}", f"reader1@{other}"]
                self.senders.append(Sender(f"sender{number}@{site.domain}", self.book, to, window))
        self.loop.clients = [*self.readers, *self.senders]
        for client in self.loop.clients:
            self.connect(client)

    def connect(self, client: Client) -> None:
        """Log in at its own server."""
        client.connect(self.siteOf(client.domain).port)

    def siteOf(self, domain: str) -> Federated:
        """The server of a domain."""
        return self.twins.sites[domain == TWO]

    def settle(self, patience: float = PATIENCE) -> tuple[Verdict, float]:
        """The lines hold and nobody sends: everything must be acknowledged, and nothing may wait."""
        begin = time.monotonic()
        self.plan.cutting = False
        for sender in self.senders:
            sender.active = False
            sender.ask()
        again = [0.0]

        def settled() -> bool:
            # A sender is told a count that does not cover what is under way; it asks again.
            if time.monotonic() > again[0]:
                again[0] = time.monotonic() + 1.0
                for sender in self.senders:
                    sender.ask()
            return not any(sender.open for sender in self.senders)

        self.loop.run(settled, patience, must=False)
        self.loop.run(lambda: not self.book.missing(), 5.0, must=False)
        self.loop.pause(0.3)
        return self.book.judge(), time.monotonic() - begin

    @property
    def open(self) -> int:
        """Stanzas of senders that no acknowledgement covers."""
        return sum(sender.open for sender in self.senders)

    def end(self) -> None:
        """All leave."""
        for client in self.loop.clients:
            client.drop()
        self.twins.end()


class RemoteBook(Book):
    """A message that was sent again gets another id from the server of its reader: only its sender's id counts."""

    def arrive(self, recipient: str, id: str, stanzaId: str) -> None:
        """See `Book.arrive`."""
        super().arrive(recipient, id, "")


Begin = Callable[..., Talk]


@pytest.fixture
def begin(tmp_path: Path, chance: random.Random) -> Iterator[Begin]:
    """Begins a conversation between two servers."""
    talks: list[Talk] = []

    def start(s2s: str, sabotage: str = "", window: int = 60) -> Talk:
        talks.append(Talk(tmp_path, chance, s2s, sabotage, window))
        return talks[-1]

    yield start
    for talk in talks:
        talk.end()


@pytest.mark.slow
@pytest.mark.parametrize("way", list(WAYS) if LONG else FEW)
def test_cutLines(begin: Begin, way: str, say: Say) -> None:
    """R26: lines between the servers are cut at any byte, in negotiations and in the midst of stanzas: no message is
    lost, pairs keep their order, and every sender gets its acknowledgement."""
    talk = begin(WAYS[way])
    start = time.monotonic()
    talk.loop.run(lambda: talk.twins.cuts >= CUTS, CUTS * 10.0)
    verdict, seconds = talk.settle()
    say(f"{way}: {talk.twins.cuts} lines in {time.monotonic() - start:.0f} s: {verdict}; settled {seconds:.1f} s\n")
    assert "Traceback" not in talk.twins.log, talk.twins.log[-4000:]
    assert verdict.clean, verdict
    assert (talk.open, talk.twins.queued) == (0, 0)
    assert verdict.acked == verdict.sent


@pytest.mark.slow
def test_forgettingIsFoundOut(begin: Begin, say: Say) -> None:
    """R26: a build that takes what was under way for delivered when a stream ends is seen to lose messages."""
    talk = begin("", FORGET)
    talk.loop.run(lambda: talk.twins.cuts >= 10, 100.0)
    verdict, _ = talk.settle()
    say(f"sabotaged, {talk.twins.cuts} lines: {verdict}\n")
    assert verdict.lost


@pytest.mark.slow
def test_keepingIsFoundOut(begin: Begin, say: Say) -> None:
    """R26: of a build that keeps what was under way to itself, senders wait for acknowledgements in vain."""
    talk = begin("", PARK)
    talk.loop.run(lambda: talk.twins.cuts >= 10, 3.0, must=False)
    verdict, _ = talk.settle(2.0)
    say(f"sabotaged, {talk.twins.cuts} lines: {verdict}; {talk.open} open\n")
    assert talk.open


def _blow(talk: Talk, site: Federated, clean: bool) -> None:
    """One server ends and comes back, and its users with it; those of the other one go on."""
    if clean:
        site.terminate()
        assert site.wait(60.0) == 0
    else:
        site.kill()
    mine = [client for client in talk.loop.clients if client.domain == site.domain]
    Loop(mine).drain(10.0)
    site.start()
    for client in mine:
        client.connect(site.port)
        if isinstance(client, Sender):
            client.active = True


@pytest.mark.slow
@pytest.mark.parametrize("way", list(WAYS) if LONG else FEW[1:])
def test_serversThatEnd(begin: Begin, chance: random.Random, way: str, say: Say) -> None:
    """R26: one server is killed (-9) or restarted in the midst of a conversation, then the other: what was
    acknowledged to senders of either is not lost, those of the other one get their acknowledgements."""
    talk = begin(WAYS[way])
    talk.plan.cutting = False
    for number in range(BLOWS):
        talk.loop.pause(chance.uniform(0.3, 1.0))
        _blow(talk, talk.twins.sites[number % 2], clean=number % 4 > 1)
    talk.loop.pause(0.5)
    verdict, seconds = talk.settle()
    say(f"{way}: {BLOWS} ends of a server: {verdict}; settled {seconds:.1f} s\n")
    assert "Traceback" not in talk.twins.log, talk.twins.log[-4000:]
    assert verdict.clean, verdict
    assert (talk.open, talk.twins.queued) == (0, 0)
