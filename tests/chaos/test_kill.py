"""``kill -9`` under load: what was acknowledged is there after the restart, and sabotage is found out."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import victim as builds
from tests.chaos.book import Verdict
from tests.chaos.rounds import USERS, killRound
from tests.chaos.victim import Victim

ROUNDS = int(os.environ.get("XMPPSERVICE_CHAOS_ROUNDS", "20"))
SEED = int(os.environ.get("XMPPSERVICE_CHAOS_SEED", "0")) or secrets.randbelow(1 << 32) + 1
#: Rounds within which a sabotaged build must have lost something.
FEW = 6


@pytest.fixture
def build(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Victim]:
    """A running server; the test's parameter, if it has one, is the sabotage."""
    victim = Victim(tmp_path, USERS, getattr(request, "param", ""))
    yield victim
    victim.end()


@pytest.mark.slow
def test_nothingAcknowledgedIsLost(build: Victim, capsys: pytest.CaptureFixture[str]) -> None:
    """Rounds of load and ``kill -9``, every other one with the writer: all that was acknowledged arrives."""
    chance = random.Random(SEED)
    total, restarts = Verdict(), []
    for number in range(ROUNDS):
        done = killRound(build, f"k{number}", chance, group=number % 2 == 0)
        total += done.verdict
        restarts.append(done.restart)
        _say(capsys, f"round {number} seed={SEED} {'server and writer' if number % 2 == 0 else 'server'}: {done}")
        assert done.verdict.clean, done.verdict
        assert done.verdict.acked
    worst = f"restart to first login: {max(restarts):.2f} s at most"
    _say(capsys, f"kill -9: {total} rounds={ROUNDS}; {worst}")
    assert "Traceback" not in build.log, build.log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [builds.ACKNOWLEDGE_BEFORE_COMMIT, builds.NO_SPOOL, builds.NO_OFFLINE_STORE],
    ids=["acknowledge-before-commit", "no-spool", "no-offline-store"],
    indirect=True,
)
def test_sabotageIsFoundOut(build: Victim, capsys: pytest.CaptureFixture[str]) -> None:
    """A build that breaks the promise is seen to lose messages within a few rounds."""
    chance = random.Random(SEED)
    for number in range(FEW):
        done = killRound(build, f"s{number}", chance, group=True)
        _say(capsys, f"sabotaged, round {number} seed={SEED}: {done}")
        if done.verdict.lost:
            return
    pytest.fail(f"no loss within {FEW} rounds of a build that must lose")


def _say(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Print past pytest's capture: the figures are the point of these tests."""
    with capsys.disabled():
        print("\n" + line, end="", flush=True)
