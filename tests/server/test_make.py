"""``make run`` as a stranger does it, from a fresh clone. Needs the network for pip, so it must be asked for."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.interop.processes import Child, waitFor
from tests.server.site import PASSWORD, environment
from tests.sources import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("XMPPSERVICE_TEST_MAKE") != "1",
        reason="set XMPPSERVICE_TEST_MAKE=1: it installs from the network",
    ),
]


def _run(clone: Path) -> tuple[float, str]:
    """One `make run`: seconds until it says how to make an account, and what it said. An account is made."""
    env = {**environment(), "PYTHONPATH": ""}
    ports = "--c2s=tcp:0:interface=127.0.0.1 --c2s-tls=tcp:0:interface=127.0.0.1"
    log, begin = clone.parent / "run.log", time.monotonic()
    log.unlink(missing_ok=True)
    child = Child(["make", "run", f"ARGS={ports}"], log, clone, env)
    try:
        waitFor("the server", lambda: "make an account: " in child.output or not child.running(), 300)
        took = time.monotonic() - begin
        line = child.output.partition("make an account: ")[2].splitlines()[0]
        assert line == ".venv/bin/xmppctl user add alice@localhost", child.output
        done = subprocess.run(
            line.split(), cwd=clone, env=env, input=f"{PASSWORD}\n{PASSWORD}\n", capture_output=True, text=True
        )
        assert done.stdout + done.stderr == "The account alice@localhost is ready.\n"
        assert f"{clone}/var/certs/ca.crt" in child.output
        subprocess.run([".venv/bin/xmppctl", "user", "delete", "alice@localhost"], cwd=clone, env=env, check=True)
    finally:
        child.stop()
    return took, child.output


def test_freshClone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run builds and starts everything; the second is quick and leaves no change in the clone."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    cold, _ = _run(clone)
    warm, _ = _run(clone)
    with capsys.disabled():
        print(f"\nmake run: {cold:.1f} s cold, {warm:.1f} s warm")
    status = subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == ""
    assert warm < 10
