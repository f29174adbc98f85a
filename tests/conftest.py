"""What every test run sets up: Hypothesis profiles, trial's temporary folders among pytest's, tests that run alone."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from twisted.trial.unittest import SynchronousTestCase

settings.register_profile("default", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("XMPPSERVICE_HYPOTHESIS", "default"))


@pytest.fixture(autouse=True, scope="session")
def temporaryFolders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """``mktemp()`` of trial's test cases gives names below pytest's folder, not in the current one."""
    base = tmp_path_factory.mktemp("trial")

    def mktemp(case: SynchronousTestCase) -> str:
        return os.path.join(tempfile.mkdtemp(dir=base), "temp")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SynchronousTestCase, "mktemp", mktemp)
        yield


@contextmanager
def _held(file: Path, how: int) -> Iterator[None]:
    """A lock among the processes of this run; it ends with its process at the latest."""
    with file.open("a") as lock:
        fcntl.flock(lock, how)
        yield


@contextmanager
def turn(folder: Path, alone: bool) -> Iterator[None]:
    """A test's time: those that are alone share it with none, the others with each other."""
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with ExitStack() as room:
        # Who waits to be alone holds the door, so that no new test begins meanwhile.
        with _held(folder / "door", how):
            room.enter_context(_held(folder / "room", how))
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test marked `alone` runs beside no other one, whatever the number of workers."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    # The base folder of a worker is in that of the run.
    folder = item.config._tmp_path_factory.getbasetemp().parent  # type: ignore[attr-defined]
    with turn(folder, item.get_closest_marker("alone") is not None):
        return (yield)
