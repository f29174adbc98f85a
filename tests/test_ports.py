"""Ports for servers of tests: two test processes never get the same, and none that is in use."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.ports import BLOCK, FIRST, LAST, claim, freePort
from tests.sources import ROOT

_OTHER = "from tests.ports import freePort; print(*(freePort() for _ in range(50)))"


def test_eachOnceAndBelowTheKernels() -> None:
    """Many ports, all different, in the range, and free."""
    ports = [freePort() for _ in range(BLOCK // 2)]
    assert len(set(ports)) == len(ports) and FIRST <= min(ports) and max(ports) < LAST


def test_takenPortsAreLeftOut() -> None:
    """A port on which somebody listens is not handed out, although its turn has come."""
    first = freePort()
    with socket.create_server(("127.0.0.1", first + 1 if (first + 1) % BLOCK else first + 1 - BLOCK)) as server:
        taken = server.getsockname()[1]
        assert taken not in [freePort() for _ in range(BLOCK - 1)]


def test_processesShareNothing() -> None:
    """Another process takes another block, whatever its number."""
    mine = freePort()
    block = mine - (mine - FIRST) % BLOCK
    assert not claim(block)
    done = subprocess.run([sys.executable, "-c", _OTHER], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    theirs = [int(port) for port in done.stdout.split()]
    assert len(theirs) == 50 and not any(block <= port < block + BLOCK for port in theirs)
