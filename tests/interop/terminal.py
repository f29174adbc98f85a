"""A program in a terminal that nobody looks at: tmux types for us and reads the screen."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.interop.processes import waitFor


class Terminal:
    """One program in one tmux server of its own, on a socket in a folder with a short name."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tmux"))
        clean = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *command]
        self._tmux("-f", "/dev/null", "new-session", "-d", "-s", "main", "-x", "160", "-y", "50", *clean)

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        command = ["tmux", "-u", "-S", str(self.folder / "socket"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=check, timeout=30)
        return done.stdout

    def screen(self) -> str:
        """What a person would see now; empty when the program has ended."""
        return self._tmux("capture-pane", "-p", "-t", "main", check=False)

    def type(self, line: str) -> None:
        """Types a line and presses return."""
        self._tmux("send-keys", "-t", "main", "-l", line)
        self._tmux("send-keys", "-t", "main", "Enter")

    def expect(self, text: str) -> None:
        """Waits until the screen shows this text."""
        try:
            waitFor(f"the text {text!r} on the screen", lambda: text in self.screen())
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{self.screen()}") from None

    def ask(self, line: str, text: str) -> None:
        """Types a line again and again until the screen shows this text: what it asks for may be under way yet."""

        def told() -> bool:
            self.type(line)
            time.sleep(0.5)
            return text in self.screen()

        waitFor(f"{text!r} as the answer to {line}", told)

    def expectEnd(self) -> None:
        """Waits until the program has ended by itself."""
        waitFor("the program to end", lambda: not self.screen())

    def kill(self) -> None:
        """Ends the program, whatever it does."""
        self._tmux("kill-server", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
