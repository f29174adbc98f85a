"""``kill -9`` under load: what was acknowledged is there after the restart, and sabotage is found out."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.chaos import victim as builds
from tests.chaos.book import Verdict
from tests.chaos.client import Loop
from tests.chaos.conftest import LONG, Say
from tests.chaos.rounds import collect, enter, gather, killRound, leave, strain
from tests.chaos.victim import Victim

ROUNDS = int(os.environ.get("XMPPSERVICE_CHAOS_ROUNDS", "100" if LONG else "6"))
#: Rounds within which a sabotaged build must have lost something.
FEW = 6
#: Blows in a row, without new load in between.
BLOWS = 8


@pytest.mark.slow
def test_nothingAcknowledgedIsLost(build: Victim, chance: random.Random, say: Say) -> None:
    """Rounds of load and ``kill -9``, every other one with the writer: all that was acknowledged arrives."""
    total, restarts = Verdict(), []
    for number in range(ROUNDS):
        group = number % 2 == 0
        done = killRound(build, f"k{number}", chance, group)
        total += done.verdict
        restarts.append(done.restart)
        say(f"round {number}, {'server and writer' if group else 'server'}: {done}")
        assert done.verdict.clean, done.verdict
        assert done.verdict.acked
    say(f"kill -9: {total} rounds={ROUNDS}; restart to first login at most {max(restarts):.2f} s\n")
    assert "Traceback" not in build.log, build.log[-4000:]


@pytest.mark.slow
def test_killedAgainAndAgain(build: Victim, chance: random.Random, say: Say) -> None:
    """After the load the server is killed while it starts and recovers, and while recipients take what it kept."""
    scene = enter(build, "a")
    strain(scene, 1.0, chance)
    build.kill()
    leave(scene)
    for number in range(BLOWS):
        if number % 2:
            build.launch()
            time.sleep(chance.uniform(0.2, 1.0))
        else:
            build.start()
            gather(build, scene)
            Loop(scene.recipients).pause(chance.uniform(0.0, 0.3))
        build.kill(group=chance.random() < 0.5)
        for client in scene.recipients:
            client.drop()
    build.start()
    collect(build, scene)
    verdict = scene.book.judge()
    say(f"killed {BLOWS} more times: {verdict}\n")
    assert verdict.clean, verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        {"sabotage": builds.ACKNOWLEDGE_BEFORE_COMMIT},
        {"sabotage": builds.NO_SPOOL},
        {"sabotage": builds.NO_OFFLINE_STORE},
    ],
    ids=["acknowledge-before-commit", "no-spool", "no-offline-store"],
    indirect=True,
)
def test_sabotageIsFoundOut(build: Victim, chance: random.Random, say: Say) -> None:
    """A build that breaks the promise is seen to lose messages within a few rounds."""
    for number in range(FEW):
        done = killRound(build, f"s{number}", chance, group=True)
        say(f"sabotaged, round {number}: {done}")
        if done.verdict.lost:
            return
    pytest.fail(f"no loss within {FEW} rounds of a build that must lose")
