"""Power loss (hardening R02): what was written and not synced is gone, torn or there, as the disk likes."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from tests.chaos import victim as builds
from tests.chaos.book import Book, Verdict
from tests.chaos.client import Loop, Sender, StreamOver
from tests.chaos.conftest import LONG, Say
from tests.chaos.inside.disk import JOURNAL
from tests.chaos.powerloss import Platter, records
from tests.chaos.rounds import AWAY, SENDERS, collect, enter, leave, strain
from tests.chaos.victim import RULED_DISK, Victim

#: Losses with a restart behind each, and moments of one history at which the power could have gone.
LOSSES = 20 if LONG else 2
MOMENTS = 500 if LONG else 60
#: Of these a sabotaged build must not survive all.
FEW_LOSSES = 4
FEW_MOMENTS = 40

BUILD = {"sabotage": RULED_DISK, "idle": True}
SABOTAGES = [
    {"sabotage": RULED_DISK + builds.NO_SYNC, "idle": True},
    {"sabotage": RULED_DISK + builds.ACKNOWLEDGE_BEFORE_COMMIT, "idle": True},
]
NAMES = ["no-sync", "acknowledge-before-commit"]


def _switchOn(build: Victim) -> Platter:
    """What stands on the disk now is safe."""
    (build.rules / JOURNAL).unlink(missing_ok=True)
    platter = Platter(build.data)
    build.start()
    return platter


def _loss(build: Victim, name: str, chance: random.Random) -> tuple[Verdict, int, float]:
    """Load, loss, restart on what is left; the verdict, how many writes were at risk, and the restart's seconds."""
    platter = _switchOn(build)
    scene = enter(build, name)
    strain(scene, chance.uniform(0.5, 1.2), chance)
    build.kill()
    leave(scene)
    for record in records(build.rules):
        platter.play(record)
    assert platter.syncs or platter.unsynced
    risk = platter.unsynced
    platter.leave(build.data, chance)
    restart = build.start()
    restart += collect(build, scene)
    build.kill()
    return scene.book.judge(), risk, restart


@pytest.mark.slow
@pytest.mark.parametrize("build", [BUILD], indirect=True)
def test_powerLoss(build: Victim, chance: random.Random, say: Say) -> None:
    """R02: the server starts on what the disk has kept, without repair, and nothing acknowledged is missing."""
    total, risks, restarts = Verdict(), [], []
    for number in range(LOSSES):
        verdict, risk, restart = _loss(build, f"p{number}", chance)
        say(f"power loss {number}, {risk} writes not synced: {verdict}")
        assert verdict.clean, verdict
        assert verdict.acked
        total += verdict
        risks.append(risk)
        restarts.append(restart)
    say(f"power losses: {total} rounds={LOSSES} writes not synced={sum(risks)}; "
        f"restart to first login at most {max(restarts):.2f} s\n")  # fmt: skip
    assert "Traceback" not in build.log, build.log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("build", SABOTAGES[:1], ids=NAMES[:1], indirect=True)
def test_lossIsFoundOut(build: Victim, chance: random.Random, say: Say) -> None:
    """R02: a build that does not sync loses messages, or its database."""
    try:
        for number in range(FEW_LOSSES):
            verdict, risk, _ = _loss(build, f"s{number}", chance)
            say(f"sabotaged, power loss {number}, {risk} writes not synced: {verdict}")
            if verdict.lost:
                return
    except (AssertionError, OSError, StreamOver):
        assert build.wait(20.0)
        assert "restore it from a backup" in build.log
        say("sabotaged: the database is damaged\n")
        return
    pytest.fail(f"no loss within {FEW_LOSSES} power losses of a build that must lose")


# -- every moment of one history ----------------------------------------------------------------------

_ID = re.compile(rb" id=['\"](h-[^'\"]+)['\"]")


def _history(build: Victim) -> tuple[Platter, Book]:
    """Some load for recipients who are all away: what is acknowledged must be in the database, always."""
    platter = _switchOn(build)
    book = Book("h")
    senders = [Sender(user, book, AWAY, 40) for user in SENDERS]
    for sender in senders:
        sender.connect(build.port)
    loop = Loop(senders)
    loop.run(lambda: len(book.acked) > 4000, 20.0)
    build.kill()
    loop.drain()
    return platter, book


def _stored(folder: Path) -> set[str]:
    """The messages in a database, which must be whole."""
    database = sqlite3.connect(folder / "xmppservice.sqlite3")
    try:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute("SELECT data FROM offline").fetchall()
    finally:
        database.close()
    return {found[1].decode() for (data,) in rows if (found := _ID.search(data))}


def _missing(build: Victim, chance: random.Random, moments: int, folder: Path) -> tuple[int, int, int]:
    """How many moments were tried, how many of them lost something, and the most that was acknowledged at one."""
    platter, book = _history(build)
    history = list(records(build.rules))
    folder.mkdir()
    at = losing = 0
    told: set[str] = set()
    acknowledgements = iter(book.acknowledgements)
    when, ids = next(acknowledgements)
    for moment in sorted(chance.sample(range(len(history)), moments)):
        for record in history[at:moment]:
            platter.play(record)
        at = moment
        while when < history[moment].time:
            told.update(ids)
            when, ids = next(acknowledgements, (float("inf"), []))
        platter.leave(folder, chance)
        losing += not told <= _stored(folder)
    shutil.rmtree(folder)
    return moments, losing, len(told)


@pytest.mark.slow
@pytest.mark.parametrize("build", [BUILD], indirect=True)
def test_powerLossAtAnyMoment(build: Victim, chance: random.Random, say: Say, tmp_path: Path) -> None:
    """R02: whenever the power goes, the database is whole and holds all that had been acknowledged by then."""
    begin = time.monotonic()
    moments, losing, acked = _missing(build, chance, MOMENTS, tmp_path / "found")
    say(f"power loss at {moments} moments of a history with {acked} acknowledged: lost at {losing}; "
        f"{time.monotonic() - begin:.1f} s\n")  # fmt: skip
    assert not losing
    assert acked > 1000


@pytest.mark.slow
@pytest.mark.parametrize("build", SABOTAGES, ids=NAMES, indirect=True)
def test_lossAtAMomentIsFoundOut(build: Victim, chance: random.Random, say: Say, tmp_path: Path) -> None:
    """R02: builds that do not sync, or acknowledge too early, have lost something at some of the moments."""
    try:
        _, losing, _ = _missing(build, chance, FEW_MOMENTS, tmp_path / "found")
        say(f"sabotaged, {FEW_MOMENTS} moments: lost at {losing}\n")
        assert losing
    except sqlite3.DatabaseError as error:
        say(f"sabotaged: {error}\n")
