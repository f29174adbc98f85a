"""The driver's command line."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


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
