"""A server's process, private to this run: started in a folder of its own, on free ports, and stopped by its id."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.load.link import LoadError
from benchmarks.load.place import Place


class Peer(Protocol):
    """What the comparison needs of a server, ours or another."""

    name: str
    place: Place

    @property
    def pid(self) -> int:
        """The process that is measured, with its descendants; 0 while the server is down."""

    def prepare(self, contacts: dict[int, list[int]]) -> None:
        """Create users and their mutual contacts, before the first start."""

    def start(self) -> None:
        """Start and wait until it listens."""

    def stop(self) -> None:
        """Stop; safe to call twice."""


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def waitFor(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, limit: float = 60.0) -> None:
    """Wait until ``ready()``; `LoadError` with the end of the log if the process ends first or time is up."""
    end = time.perf_counter() + limit
    while not ready():
        if process.poll() is not None or time.perf_counter() > end:
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"
            raise LoadError(f"{Path(str(log)).parent.name} does not start:\n{tail}")
        time.sleep(0.05)


class Process:
    """One child process; what it prints goes to a file."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], ready: Callable[[], bool], environment: dict[str, str]) -> int:
        """Start, wait until ``ready()``, and return the process id."""
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                command,
                cwd=self.log.parent,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            waitFor(ready, self._child, self.log)
        except LoadError:
            self.stop()
            raise
        return self._child.pid

    def stop(self, limit: float = 20.0) -> None:
        """SIGTERM, and SIGKILL if it is still there after ``limit`` seconds; safe to call twice."""
        child, self._child = self._child, None
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(limit)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5.0)
