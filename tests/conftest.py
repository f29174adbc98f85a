"""What every test run sets up: Hypothesis profiles, and trial's temporary folders among pytest's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

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
