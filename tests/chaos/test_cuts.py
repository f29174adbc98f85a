"""Connections that break: sessions that come back lose and double nothing, and sessions that do not leave heirs."""

from __future__ import annotations

import random
import time

import pytest

from tests.chaos import victim as builds
from tests.chaos.book import Book, Verdict
from tests.chaos.client import Client, Loop, Sender
from tests.chaos.conftest import LONG, Say
from tests.chaos.rounds import SENDERS, settle
from tests.chaos.victim import Victim

CUTS = 1000 if LONG else 100
#: The recipients, and how long each lets the server wait for acknowledgements.
RECIPIENTS = {"prompt0": 0.0, "slow0": 0.02, "slow1": 0.05}
#: No session may end because the test's clients are slow.
LARGE = '[modules.stream_management]\nqueue_size = "64 MiB"\nqueue_stanzas = 100_000'
#: Cuts within which a build that forgets must have lost something.
FEW = 60
#: A recipient that stays away, and what makes its sessions short-lived and small.
AWAY = "away0"
SHORT = '[modules.stream_management]\nresumption = "1 s"'
SMALL = f"{SHORT}\nqueue_stanzas = 50"


def _cuts(build: Victim, chance: random.Random, count: int) -> tuple[Verdict, float]:
    """So many times one of six clients loses its connection at some byte and resumes on another one."""
    book = Book("c")
    senders = [Sender(user, book, list(RECIPIENTS), 60) for user in SENDERS[:3]]
    clients: list[Client] = [*(Client(user, book, delay=delay) for user, delay in RECIPIENTS.items()), *senders]
    for client in clients:
        client.connect(build.port)
    loop = Loop(clients)
    slowest = 0.0
    for _ in range(count):
        loop.pause(chance.uniform(0.0, 0.02))
        assert not any(client.ended for client in clients), [client.ended for client in clients]
        client = chance.choice(clients)
        part = chance.choice((b"", b"<", b"<message to='prompt0@localhost' type='chat'><body>Wher"))
        client.cut(chance.random() < 0.5, part)
        loop.pause(chance.uniform(0.0, 0.01))
        begin = time.monotonic()
        assert client.comeBack(build.port) == "resumed"
        slowest = max(slowest, time.monotonic() - begin)
    settle(book, senders, loop)
    for client in clients:
        client.quit()
    return book.judge(), slowest


@pytest.mark.slow
@pytest.mark.parametrize("build", [{"more": LARGE}], indirect=True)
def test_everyCutIsMended(build: Victim, chance: random.Random, say: Say) -> None:
    """Cuts at random moments, on both sides, within stanzas, with and without a reset: not one message is missing,
    doubled or out of its order once the counts are exchanged."""
    verdict, slowest = _cuts(build, chance, CUTS)
    say(f"{CUTS} cuts and resumptions: {verdict}; slowest login and resumption {slowest:.2f} s\n")
    assert verdict.clean, verdict
    assert verdict.duplicated == 0
    assert verdict.sent == verdict.acked == verdict.arrived
    assert "Traceback" not in build.log, build.log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("build", [{"sabotage": builds.FORGET_ON_RESUME, "more": LARGE}], indirect=True)
def test_forgettingOnResumeIsFoundOut(build: Victim, chance: random.Random, say: Say) -> None:
    """A build that sends nothing again after a resumption is seen to lose messages."""
    verdict, _ = _cuts(build, chance, FEW)
    say(f"sabotaged, {FEW} cuts: {verdict}\n")
    assert verdict.lost


#: Within the limits for a stanza as it comes in; escaped it is larger than the queue of a session.
GIANT = "".join(f"<x xmlns='urn:example:x{number}' a=\"{chr(39) * 64_000}\"/>" for number in range(3))
#: The same, larger only than the limit for a stanza, with something that makes the server look into what it stored.
DELAYED = f"<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/><x xmlns='urn:x' a=\"{chr(39) * 64_000}\"/>"


class Will:
    """A sender and recipients of whom some will die."""

    def __init__(self, build: Victim) -> None:
        self.build = build
        self.book = Book("d")
        self.sender = Client(SENDERS[0], self.book)
        self.sender.connect(build.port)
        self.loop = Loop([self.sender])

    def login(self, resource: str, delay: float | None = 0.0) -> Client:
        """Another session of the recipient."""
        client = Client(AWAY, self.book, resource, delay=delay)
        client.connect(self.build.port)
        self.loop.clients = [*self.loop.clients, client]
        return client

    def send(self, count: int, resource: str = "", more: str = "") -> None:
        """Messages to the recipient, acknowledged."""
        for _ in range(count):
            self.sender.write(self.sender.message(AWAY, resource, more))
        self.sender.ask()
        self.loop.run(lambda: not self.sender.open, 5.0)

    def arrive(self, limit: float = 5.0) -> Verdict:
        """Wait until nothing is missing, or nothing comes any more."""
        self.loop.run(lambda: not self.book.missing(), limit, must=False)
        self.loop.pause(0.2)
        return self.book.judge()


@pytest.mark.parametrize("build", [{"more": SHORT}], indirect=True)
def test_deadSessionLeavesToOffline(build: Victim) -> None:
    """A session that is not resumed in time: what it had not acknowledged waits for the next login, in order."""
    will = Will(build)
    first = will.login("first", None)
    will.send(30)
    first.cut()
    will.book.forget()
    will.send(30)
    will.loop.pause(1.5)
    will.send(30)
    assert first.comeBack(build.port) == "item-not-found"
    verdict = will.arrive()
    assert verdict.clean, verdict
    assert (verdict.arrived, verdict.acked) == (90, 90), verdict


@pytest.mark.parametrize("build", [{"more": SHORT}], indirect=True)
def test_deadSessionLeavesToAnotherSession(build: Victim) -> None:
    """If another session is there when it dies, that gets what was not acknowledged, and nothing twice."""
    will = Will(build)
    first = will.login("first", None)
    will.send(30)
    first.drop()
    will.book.forget()
    second = will.login("second")
    assert second.heard == 0
    verdict = will.arrive()
    assert [id for id, _ in will.book.arrivals[AWAY]] == sorted(will.book.sent, key=lambda id: will.book.sent[id][2])
    assert (verdict.duplicated, verdict.arrived) == (0, 30), verdict


@pytest.mark.parametrize("build", [{"more": SMALL}], indirect=True)
def test_heirThatOverflows(build: Victim) -> None:
    """The session that inherits takes too much and is ended in the midst of it: the rest is not lost."""
    will = Will(build)
    first, second = will.login("first", None), will.login("second", None)
    will.send(40, "first")
    will.send(40, "second")
    first.cut()
    will.loop.run(lambda: second.sock is None, 5.0)
    assert second.ended == "resource-constraint"
    will.book.forget()
    will.login("third")
    verdict = will.arrive()
    assert (len(verdict.lost), verdict.arrived) == (0, 80), verdict


@pytest.mark.parametrize("more", [GIANT, DELAYED], ids=["giant", "delayed"])
def test_messageThatGrowsByEscaping(build: Victim, more: str) -> None:
    """A message that is larger in our spelling than in its sender's reaches who was away, and who is there."""
    will = Will(build)
    will.send(2, more=more)
    recipient = will.login("first")
    for _ in range(2):
        will.arrive()
        will.send(1, more=more)
    verdict = will.arrive()
    assert recipient.ended == "", recipient.reason
    assert verdict.clean, verdict
    assert (verdict.arrived, verdict.duplicated) == (4, 0), verdict
    assert "Traceback" not in build.log, build.log[-4000:]


@pytest.mark.parametrize("build", [{"more": SMALL}], indirect=True)
def test_smallQueue(build: Victim) -> None:
    """More waits for a recipient than the queue of its session holds: it gets that bit by bit."""
    will = Will(build)
    will.send(200)
    recipient = will.login("first")
    verdict = will.arrive()
    assert recipient.ended == "", recipient.reason
    assert verdict.clean, verdict
    assert (verdict.arrived, verdict.duplicated) == (200, 0), verdict
