"""Fixtures of the chaos: a build to maltreat, a seed, and a place for figures."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.rounds import USERS
from tests.chaos.victim import Victim

#: The same seed makes the same decisions; what the machine makes of them is another matter.
SEED = int(os.environ.get("XMPPSERVICE_CHAOS_SEED", "0")) or secrets.randbelow(1 << 32) + 1

#: The long versions, for `make chaos`.
LONG = os.environ.get("XMPPSERVICE_CHAOS_LONG", "") not in ("", "0")

Say = Callable[[str], None]


@pytest.fixture
def build(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Victim]:
    """A running server; the test's parameter, if it has one, is keyword arguments for it."""
    victim = Victim(tmp_path, **{"users": USERS, **getattr(request, "param", {})})
    yield victim
    victim.end()


@pytest.fixture
def chance() -> random.Random:
    """Decisions that the seed repeats."""
    return random.Random(SEED)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print past pytest's capture: the figures are the point of these tests."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\nchaos, seed {SEED}: {text}", end="", flush=True)

    return line
