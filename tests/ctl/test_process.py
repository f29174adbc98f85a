"""xmppctl as a process of its own, with the real database of a stopped server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def xmppctl(folder: Path, *words: str, input: str = "") -> subprocess.CompletedProcess[str]:
    """Run it in a folder, as the console script does."""
    environ = {key: value for key, value in os.environ.items() if key != "XMPPSERVICE_CONFIG"}
    path = os.pathsep.join(filter(None, (str(ROOT), environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "xmppservice.ctl", *words]
    return subprocess.run(
        command,
        cwd=folder,
        env={**environ, "PYTHONPATH": path},
        input=input,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_life(tmp_path: Path) -> None:
    """From an empty folder to accounts that are there the next time, without a server."""
    assert xmppctl(tmp_path, "init", "--domain", "example.org").returncode == 0
    made = xmppctl(tmp_path, "user", "add", "alice@example.org", input="correct horse\ncorrect horse\n")
    assert (made.returncode, made.stderr) == (0, "")
    again = xmppctl(tmp_path, "user", "add", "alice@example.org", input="correct horse\ncorrect horse\n")
    assert again.returncode == 1
    assert again.stderr.startswith("xmppctl: ")
    assert "Traceback" not in again.stderr
    (tmp_path / "accounts").write_text("bob@example.org\tone\ncarol@example.org\ttwo\n")
    assert xmppctl(tmp_path, "user", "import", "accounts").returncode == 0
    assert xmppctl(tmp_path, "user", "delete", "bob@example.org").returncode == 0
    listed = xmppctl(tmp_path, "user", "list").stdout
    assert [line.split()[0] for line in listed.splitlines()[2:]] == ["alice@example.org", "carol@example.org"]
    assert "needs an upgrade" not in xmppctl(tmp_path, "db", "status").stdout
    assert xmppctl(tmp_path, "status").returncode == 3
    assert not any("correct horse" in path.read_bytes().decode("latin-1") for path in (tmp_path / "var").glob("*"))


def test_wrongHost(tmp_path: Path) -> None:
    """An account of a host that the server does not have is refused without a traceback."""
    (tmp_path / "xmppservice.toml").write_text("[hosts.localhost]\n")
    done = xmppctl(tmp_path, "user", "add", "a@elsewhere.example", input="x\nx\n")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("xmppctl: ")
