"""``xmppctl db backup``: a copy beside a server that works, and refusals that say what is wrong."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.ctl.test_main import World
from xmppservice.storage.files import FILE
from xmppservice.storage.maintenance import upgradeDatabase


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A configuration with an empty database."""
    (tmp_path / "xmppservice.toml").write_text("[hosts.localhost]\n")
    (tmp_path / "var").mkdir(mode=0o700)
    upgradeDatabase(str(tmp_path / "var"))
    return World(tmp_path)


def test_copies(world: World) -> None:
    """The copy has what was committed, also what is still in the write-ahead log of whoever writes now."""
    live = sqlite3.connect(world.folder / "var" / FILE)
    live.execute("INSERT INTO hosts (domain) VALUES ('kept.example')")
    live.commit()
    live.execute("INSERT INTO hosts (domain) VALUES ('uncommitted.example')")
    assert world.run("db", "backup", "copy") == 0, world.err.getvalue()
    live.close()
    copy = sqlite3.connect(world.folder / "copy")
    assert copy.execute("SELECT domain FROM hosts").fetchall() == [("kept.example",)]
    copy.close()
    assert (world.folder / "copy").stat().st_mode & 0o777 == 0o600


def test_neverOverwrites(world: World) -> None:
    """A file that exists is left alone."""
    (world.folder / "copy").write_text("precious")
    assert world.run("db", "backup", "copy") == 1
    assert "copy" in world.err.getvalue()
    assert (world.folder / "copy").read_text() == "precious"


def test_nothingToCopy(world: World) -> None:
    """Without a database, or with one in memory, there is a clear word and no file."""
    (world.folder / "var" / FILE).unlink()
    assert world.run("db", "backup", "copy") == 1
    assert "no database" in world.err.getvalue()
    (world.folder / "xmppservice.toml").write_text('[database]\nurl = "sqlite-memory"\n[hosts.localhost]\n')
    assert world.run("db", "backup", "copy") == 1
    assert "memory" in world.err.getvalue()
    assert not (world.folder / "copy").exists()
