"""A disk that is full (hardening R08), slow or stuck (R03), or fails now and then (R09)."""

from __future__ import annotations

import random
import sqlite3
import time

import pytest

from tests.chaos import victim as builds
from tests.chaos.book import Verdict
from tests.chaos.canary import Canary
from tests.chaos.client import Client, Loop
from tests.chaos.conftest import LONG, Say
from tests.chaos.rounds import USERS, Scene, collect, enter, leave
from tests.chaos.victim import RULED_DISK, Victim

#: How long each trouble lasts, and how often it comes.
TROUBLE = 8.0 if LONG else 1.0
TIMES = 10 if LONG else 2
#: Seconds of a sync on the slow disk, and on the stuck one.
SLOW, STUCK = 0.3, 1.5
#: Room for a slow machine: what a ping may take while the disk is in trouble.
RESPONSIVE = 5.0
#: What the server may grow by while nothing is committed.
GROWTH = 64 << 20

#: Nobody's queue may overflow because nothing is committed.
LARGE = '[modules.stream_management]\nqueue_size = "64 MiB"\nqueue_stanzas = 100_000'
BUILD = {"sabotage": RULED_DISK, "more": LARGE}


class Trouble:
    """Load, a canary, and a rule for the disk."""

    def __init__(self, build: Victim, name: str) -> None:
        self.build = build
        self.scene: Scene = enter(build, name, 100)
        self.canary = Canary(USERS[-1])
        self.canary.resource = "canary"
        self.canary.connect(build.port)
        self.loop = Loop([*self.scene.clients, self.canary])
        self.grown = 0

    def rule(self, name: str, value: float) -> None:
        """From now on the disk is like that; 0 ends it."""
        rule = self.build.rules / name
        if value:
            draft = rule.with_suffix(".new")
            draft.write_text(str(value), "ascii")
            draft.rename(rule)
        else:
            rule.unlink()

    def suffer(self, name: str, value: float, seconds: float) -> tuple[int, int]:
        """So bad for so long; returns how many messages were acknowledged and how many bounced in that time."""
        self.loop.pause(0.3)
        book, memory = self.scene.book, self.build.memory
        self.rule(name, value)
        acked, bounced = len(book.acked), len(book.bounced)
        self.loop.pause(seconds)
        figures = len(book.acked) - acked, len(book.bounced) - bounced
        self.grown = max(self.grown, self.build.memory - memory)
        self.rule(name, 0)
        return figures

    def recover(self) -> float:
        """The seconds until a message sent from now on is acknowledged and not bounced."""
        begin, book = time.monotonic(), self.scene.book
        known = set(book.sent)
        self.loop.run(lambda: bool(book.acked - known - book.bounced), 30.0)
        return time.monotonic() - begin

    def end(self) -> Verdict:
        """``kill -9``, restart, collection, judgement."""
        self.loop.pause(0.2)
        self.build.kill()
        self.canary.drop()
        leave(self.scene)
        _checkWhole(self.build)
        self.build.start()
        collect(self.build, self.scene)
        return self.scene.book.judge()


def _checkWhole(build: Victim) -> None:
    database = sqlite3.connect(build.data / "xmppservice.sqlite3")
    try:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        database.close()


@pytest.mark.slow
@pytest.mark.parametrize("build", [BUILD], indirect=True)
def test_fullDisk(build: Victim, say: Say) -> None:
    """R08: no message is acknowledged that is neither stored nor refused; the server lives, lets known users in, and
    goes on by itself when there is room again."""
    trouble = Trouble(build, "f")
    refused, recovered = 0, 0.0
    for _ in range(TIMES):
        _, bounced = trouble.suffer("full", 1, TROUBLE)
        refused += bounced
        recovered = max(recovered, trouble.recover())
    late = Client(USERS[0], trouble.scene.book, "late")
    late.connect(build.port)
    late.drop()
    canary = trouble.canary
    verdict = trouble.end()
    say(f"full disk {TIMES} times: {verdict}; refused {refused}; storing again within {recovered:.2f} s; {canary}\n")
    assert verdict.clean, verdict
    assert refused
    assert canary.count
    assert canary.silence < RESPONSIVE


@pytest.mark.slow
@pytest.mark.parametrize("build", [{**BUILD, "sabotage": RULED_DISK + builds.SILENT_FAILURE}], indirect=True)
def test_silentFailureIsFoundOut(build: Victim, say: Say) -> None:
    """R08: a writer that does not tell what it could not store is seen to lose messages."""
    trouble = Trouble(build, "f")
    trouble.suffer("full", 1, 1.0)
    verdict = trouble.end()
    say(f"sabotaged, full disk: {verdict}\n")
    assert verdict.lost


@pytest.mark.slow
@pytest.mark.parametrize("build", [BUILD], indirect=True)
def test_slowDisk(build: Victim, say: Say) -> None:
    """R03: acknowledgements wait for a slow disk and for one that is stuck; nobody else does, and memory stays."""
    trouble = Trouble(build, "l")
    slow, _ = trouble.suffer("slow", SLOW, max(TROUBLE, 5 * SLOW))
    for _ in range(TIMES - 1):
        trouble.suffer("slow", STUCK, 2 * STUCK)
        trouble.recover()
    recovered = trouble.recover()
    canary = trouble.canary
    verdict = trouble.end()
    rate = slow / max(TROUBLE, 5 * SLOW)
    say(f"sync takes {SLOW} s: {rate:.0f} acknowledged a second; {STUCK} s {TIMES - 1} times: {verdict};"
        f" well again within {recovered:.2f} s; {canary}; grown {trouble.grown / 2**20:.1f} MiB\n")  # fmt: skip
    assert verdict.clean, verdict
    assert not verdict.bounced
    assert canary.silence < RESPONSIVE
    assert trouble.grown < GROWTH


@pytest.mark.slow
@pytest.mark.parametrize(
    "build", [{**BUILD, "sabotage": RULED_DISK + builds.ACKNOWLEDGE_BEFORE_COMMIT}], indirect=True
)
def test_hastyAcknowledgementIsFoundOut(build: Victim, say: Say) -> None:
    """R03: a build that does not wait for the slow disk is seen to lose messages."""
    trouble = Trouble(build, "l")
    trouble.loop.pause(0.2)
    trouble.rule("slow", STUCK)
    verdict = trouble.end()
    say(f"sabotaged, stuck disk: {verdict}\n")
    assert verdict.lost


@pytest.mark.slow
@pytest.mark.parametrize("build", [BUILD], indirect=True)
def test_failingDisk(build: Victim, chance: random.Random, say: Say) -> None:
    """R09: one of a hundred writes fails: what failed is refused or written again, never lost."""
    trouble = Trouble(build, "e")
    for _ in range(TIMES):
        trouble.suffer("broken", 10, TROUBLE)
    recovered = trouble.recover()
    canary = trouble.canary
    verdict = trouble.end()
    say(f"one of 100 writes fails: {verdict}; well again within {recovered:.2f} s; {canary}\n")
    assert verdict.clean, verdict
    assert verdict.bounced
    assert canary.silence < RESPONSIVE
