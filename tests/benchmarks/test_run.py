"""The driver from start to end: the real server, real users, one short pass over the workloads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_WORKLOADS = ("chat", "chat-tls", "rate", "sm", "component", "component-from", "login-tls", "idle")


@pytest.mark.slow
def testOneShortPass(tmp_path: Path) -> None:
    """Workloads for a hundred users deliver everything exactly once and find CPU time and memory."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.run", "--only", ",".join(_WORKLOADS), "--seconds", "0.5"]
    command += ["--logins", "100", "--sessions", "100", "--json", str(figures), "--folder", str(tmp_path / "server")]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {row["workload"]: row for row in json.loads(figures.read_text())}
    assert tuple(results) == _WORKLOADS
    for row in results.values():
        assert row["ok"] and row["count"] > 0 and row["serverMicros"] > 0
    assert results["sm"]["extra"]["acks"] > 0
    assert results["idle"]["extra"]["rssKiB"] > 0


def testUnknownWorkloadIsNamed() -> None:
    """A typing error ends at once and tells what there is."""
    command = [sys.executable, "-m", "benchmarks", "--only", "chatt"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "chatt" in done.stderr and "login-tls" in done.stderr


def testNobodyListening() -> None:
    """A server that is not there is one line, not a traceback."""
    command = [sys.executable, "-m", "benchmarks.run", "--only", "chat", "--port", "1"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "127.0.0.1" in done.stderr
