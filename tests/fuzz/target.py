"""The server process that is fuzzed: started, watched from outside, and stopped again."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.victim import Victim
from tests.fuzz.sessions import USERS

_MORE = """
[modules.stream_management]
resumption = "20 s"
[modules.roster]
items = 50
[modules.blocking]
limit = 50
[modules.private_xml]
count = 20
[auth]
anonymous = true
"""


class Target(Victim):
    """A server whose stores are kept small, so that growth of memory is growth of the server."""

    def __init__(self, folder: Path, limits: bool = False, sabotage: str = "") -> None:
        self._limits = limits
        self._read = 0
        super().__init__(folder, (*USERS, "canary"), sabotage, _MORE)

    def launch(self) -> None:
        """Start with the limits of an installation, or without."""
        text = self._config.read_text("utf-8").replace("limit = 1000000", "limit = 20")
        if self._limits:
            text = text.replace("enabled = false", "enabled = true")
        self._config.write_text(text, "utf-8")
        super().launch()

    def news(self) -> str:
        """What was logged since this was asked last, whole lines."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        data = data[: data.rfind(b"\n") + 1]
        self._read += len(data)
        return data.decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """The main process."""
        assert self.process is not None
        return self.process.pid

    @property
    def memory(self) -> int:
        """Resident KiB of the main process."""
        pages = Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") // 1024

    @property
    def descriptors(self) -> int:
        """Files and sockets that the main process has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))
