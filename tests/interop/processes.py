"""Child processes of the interoperability tests: their output as a list that a test can wait on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.ports import freePort as freePort

PATIENCE = 60.0


def waitFor(what: str, ready: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Asks again and again until the answer is true."""
    deadline = time.monotonic() + patience
    while not (answer := ready()):
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.05)
    return answer


def accepts(port: int) -> bool:
    """Whether something listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """A process with its output in a file."""

    def __init__(
        self, command: Sequence[str], log: Path, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(command),
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """Everything the process has written."""
        return self.log.read_text("utf-8", "replace")

    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def stop(self, patience: float = PATIENCE) -> int:
        """Asks the process to end, and gives its exit status."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Talker:
    """A client program that takes commands and tells events as JSON lines, see ``peers/lines.py``."""

    def __init__(self, command: Sequence[str], login: Mapping[str, Any], environment: Mapping[str, str], log: Path):
        self.jid: str = login["jid"]
        self.log = log
        self.events: list[dict[str, Any]] = []
        self._seen = 0
        self._changed = threading.Condition()
        self._errors = log.open("ab")
        self.process = subprocess.Popen(
            list(command),
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._write(login)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self.events.append({"event": "exit"})
            self._changed.notify_all()

    def _write(self, fields: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(fields) + "\n")
        self.process.stdin.flush()

    def tell(self, command: str, **fields: str) -> None:
        """Gives one command."""
        self._write({"do": command, **fields})

    def expect(self, event: str, patience: float = PATIENCE, **wanted: Any) -> dict[str, Any]:
        """Waits for an event with these fields, also if it is there already; ``from`` may be given bare.

        An event is handed out once.
        """
        deadline = time.monotonic() + patience
        with self._changed:
            while True:
                for each in self.events:
                    if self._fits(each, event, wanted):
                        self.events.remove(each)
                        return each
                left = deadline - time.monotonic()
                if left <= 0 or self._over():
                    self._complain(event, wanted)
                self._changed.wait(left)

    def _fits(self, each: dict[str, Any], event: str, wanted: dict[str, Any]) -> bool:
        sender = wanted.get("sender")
        rest = {key: value for key, value in wanted.items() if key != "sender"}
        if each["event"] != event or any(each.get(key) != value for key, value in rest.items()):
            return False
        return sender is None or each["from"] == sender or each["from"].split("/")[0] == sender

    def _over(self) -> bool:
        return bool(self.events) and self.events[-1]["event"] == "exit"

    def _complain(self, event: str, wanted: dict[str, Any]) -> None:
        self._errors.flush()
        log = self.log.read_text("utf-8", "replace")[-3000:]
        raise AssertionError(f"{self.jid} got no {event} {wanted}; instead: {self.events}\n{log}")

    def ask(self, command: str, answer: str, **fields: str) -> dict[str, Any]:
        """Gives a command and waits for the event that answers it."""
        self.tell(command, **fields)
        return self.expect(answer)

    def expectRoster(self, items: dict[str, str]) -> None:
        """Waits until the roster is this one: some programs keep it from pushes, which may still be under way."""
        waitFor(f"{self.jid} to have {items}", lambda: self.ask("showRoster", "roster")["items"] == items)

    def logout(self) -> None:
        """Ends the session in good order."""
        self.tell("logout")
        self.expect("offline")
        self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Ends the program, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                stream.close()
