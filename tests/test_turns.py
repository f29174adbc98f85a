"""Tests that run alone do so, in whatever order the others come."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from tests.conftest import turn
from tests.sources import ROOT

PATIENCE = 60.0


def test_aloneWaitsForTheOthersAndTheOthersForIt(tmp_path: Path) -> None:
    """Two ordinary tests share their time; a lone one begins when both have ended; then the next ordinary one."""
    told: list[str] = []
    ended, waiting = threading.Event(), threading.Event()

    def alone() -> None:
        waiting.set()
        with turn(tmp_path, True):
            told.append("alone")
            ended.wait(0.2)
            told.append("alone no more")

    def late() -> None:
        with turn(tmp_path, False):
            told.append("late")

    threads = [threading.Thread(target=alone), threading.Thread(target=late)]
    with turn(tmp_path, False), turn(tmp_path, False):
        threads[0].start()
        assert waiting.wait(PATIENCE)
        ended.wait(0.2)
        threads[1].start()
        ended.wait(0.2)
        assert told == []
    for thread in threads:
        thread.join(PATIENCE)
    assert told == ["alone", "alone no more", "late"]


_BESIDE = """
import time, pathlib
mine, other = pathlib.Path({mine!r}), pathlib.Path({other!r})

def test_beside():
    mine.touch()
    until = time.monotonic() + 60
    while not other.exists():
        assert time.monotonic() < until
        time.sleep(0.01)
"""
_ALONE = """
import os, time, pytest

@pytest.mark.alone
@pytest.mark.parametrize("number", range(5))
def test_alone(number):
    os.close(os.open({place!r}, os.O_CREAT | os.O_EXCL))
    time.sleep(0.1)
    os.unlink({place!r})
"""


def test_workersKeepTheRule(tmp_path: Path) -> None:
    """Two workers run ordinary tests at the same time (each waits for the other here), and lone ones in turn."""
    for mine, other in (("a", "b"), ("b", "a")):
        text = _BESIDE.format(mine=str(tmp_path / mine), other=str(tmp_path / other))
        (tmp_path / f"test_1{mine}.py").write_text(text, "utf-8")
        (tmp_path / f"test_2{mine}.py").write_text(_ALONE.format(place=str(tmp_path / "place")), "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n", "utf-8")
    options = ["-p", "tests.conftest", "-n2", "--dist=loadfile", "--no-loadscope-reorder", "--basetemp=base"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=tmp_path, env={**inherited, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "12 passed" in done.stdout, done.stdout + done.stderr
