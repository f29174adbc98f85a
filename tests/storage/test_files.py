"""The data folder itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xmppservice.storage.files import makeFolder


def test_newFolderSurvivesPowerLoss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new data folder is an entry of its parent, which is synced once (hardening R02)."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    makeFolder(str(tmp_path / "var"))
    makeFolder(str(tmp_path / "var"))
    assert synced == [tmp_path.stat().st_ino]
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
