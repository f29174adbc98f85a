"""Somebody sets the wall clock, under load (hardening R20)."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.chaos.book import Book
from tests.chaos.client import Client, Loop, StreamOver
from tests.chaos.conftest import LONG, Say
from tests.chaos.rounds import AWAY, USERS, Scene, enter
from tests.chaos.victim import Victim

HOUR, YEARS = 3600.0, 10 * 365.25 * 24 * 3600
STEPS = (HOUR, -HOUR, YEARS, -YEARS, 0.0) * (5 if LONG else 1)
#: Room for a slow machine.
SOON = 30.0

CLOCK = "from tests.chaos.inside import clock; clock.install('rules/offset'); "
#: A build whose timers believe the wall clock.
WALL_TIMERS = "import time, xmppservice.tap as tap; tap.reactor.seconds = time.time; "
CONFIG = {
    "limits": 'silence = "10 s"\nping_time = "5 s"',
    "more": '[modules.stream_management]\nqueue_size = "64 MiB"\nqueue_stanzas = 100_000',
}


class Steps:
    """Load, and a clock that jumps. Nobody may notice."""

    def __init__(self, build: Victim) -> None:
        self.build = build
        self.scene: Scene = enter(build, "j", 40)
        self.clients = [client for client in self.scene.clients if client.user != "never0"]
        self.loop = Loop(self.scene.clients)
        self.slowest = 0.0

    def set(self, offset: float) -> None:
        """The clock shows so many seconds more than the real one, from now on."""
        draft = self.build.rules / "offset.new"
        draft.write_text(str(offset), "ascii")
        draft.rename(self.build.rules / "offset")

    def step(self, offset: float) -> None:
        """One jump: acknowledgements go on, nobody is sent away, a new login works, timers fire."""
        asleep = Client(USERS[0], self.scene.book, "asleep")
        asleep.connect(self.build.port)
        asleep.cut()
        self.set(offset)
        begin, acked = time.monotonic(), len(self.scene.book.acked)
        self.loop.pause(0.3)
        self.loop.run(lambda: len(self.scene.book.acked) > acked + 500, SOON)
        self.slowest = max(self.slowest, time.monotonic() - begin - 0.3)
        assert asleep.comeBack(self.build.port) == "resumed"
        asleep.quit()
        gone = [client.user for client in self.clients if client.sock is None]
        assert not gone, f"{gone} were sent away by a step to {offset:+g} s"

    def collect(self) -> None:
        """The recipients who were away come, and everything that is missing arrives."""
        for sender in self.scene.senders:
            sender.active = False
            sender.ask()
        self.loop.run(lambda: all(not sender.open for sender in self.scene.senders), SOON)
        late = [Client(user, self.scene.book) for user in AWAY]
        for client in late:
            client.connect(self.build.port)
        self.loop.clients = [*self.scene.clients, *late]
        self.loop.run(lambda: not self.scene.book.missing(), SOON, must=False)
        self.loop.pause(0.2)


def _twice(book: Book) -> list[str]:
    """Stanza ids that two messages of one recipient share."""
    twice = []
    for arrived in book.arrivals.values():
        uses = Counter(stanzaId for stanzaId in dict(arrived).values() if stanzaId)
        twice += [stanzaId for stanzaId, count in uses.items() if count > 1]
    return twice


@pytest.mark.slow
@pytest.mark.parametrize("build", [{**CONFIG, "sabotage": CLOCK}], indirect=True)
def test_clockSteps(build: Victim, say: Say) -> None:
    """R20: an hour and ten years, forth and back: nobody is sent away, timers go on, sessions that sleep can be
    resumed, offline messages keep their order, and no stanza id is used twice."""
    steps = Steps(build)
    for offset in STEPS:
        steps.step(offset)
    steps.collect()
    book = steps.scene.book
    verdict = book.judge()
    say(f"{len(STEPS)} clock steps of an hour and of ten years: {verdict}; "
        f"acknowledging on within {steps.slowest:.2f} s\n")  # fmt: skip
    assert verdict.clean, (verdict.lost[:20], verdict.reordered[:20])
    assert not _twice(book)
    assert verdict.acked == verdict.sent
    assert "Traceback" not in build.log, build.log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("build", [{**CONFIG, "sabotage": CLOCK + WALL_TIMERS}], indirect=True)
def test_wallTimersAreFoundOut(build: Victim, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """R20: a build whose timers follow the wall clock sends everybody away, or stands still."""
    monkeypatch.setattr("tests.chaos.test_clock.SOON", 2.0)
    steps = Steps(build)
    try:
        for offset in STEPS[:4]:
            steps.step(offset)
    except (AssertionError, OSError, StreamOver) as error:
        say(f"sabotaged, clock steps: {type(error).__name__} {error}\n")
        return
    pytest.fail("nothing happened to a build whose timers follow the wall clock")
