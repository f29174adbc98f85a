"""The server that is killed: the real process on SQLite, in a process group of its own, started again on its data."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.client import DOMAIN, PASSWORD
from tests.interop.processes import freePort
from tests.sources import ROOT

_CONFIG = """
data = "var"
[listen]
c2s = ["tcp:{port}:interface=127.0.0.1"]
c2s_tls = ["tcp:{direct}:interface=127.0.0.1"]
[tls]
policy = "optional"
development_certificates = true
[limits]
enabled = {enabled}
{limits}
[modules.offline]
limit = 1000000
{more}
[hosts.{domain}]
"""

#: Code that a sabotaged build runs before it starts.
ACKNOWLEDGE_BEFORE_COMMIT = (
    "from xmppservice.hub.acknowledge import AckLedger; AckLedger.settled = lambda self: self.handled; "
)
NO_SPOOL = "from xmppservice.storage.spool import Spool; Spool.hold = lambda self, *rest: (0, 0); "
NO_OFFLINE_STORE = "from xmppservice.storage.spool import OfflineStore; OfflineStore.store = lambda self, *rest: 0; "
FORGET_ON_RESUME = (
    "from xmppservice.protocol.stream.resume import ResumeQueue; "
    "ResumeQueue.unacknowledged = property(lambda self: []); "
)
NO_LAST_WORD = "from xmppservice.hub import management; management.lastAcknowledgement = lambda session: None; "
#: Code that is no sabotage: the disk of `tests.chaos.inside.disk`, ruled from the folder of rules.
RULED_DISK = "from tests.chaos.inside import disk; disk.install('rules'); "
NO_SYNC = (
    "from xmppservice.storage.database import Database; "
    "Database.__init__.__kwdefaults__['pragmas'] = ('synchronous=OFF',); "
)
#: A writer that keeps a failed batch to itself.
SILENT_FAILURE = (
    "from tests.chaos.inside import writers; writers.before("
    "'from xmppservice.storage.batches import Batches; Batches._allFailed = lambda *rest: []'); "
)
#: Users → a data folder that has them.
_templates: dict[tuple[str, ...], Path] = {}


class Victim:
    """A server process that is not spared. A user without a domain is one of `DOMAIN`."""

    config = _CONFIG

    def __init__(
        self, folder: Path, users: Sequence[str], sabotage: str = "", more: str = "", limits: str = "",
        enabled: bool = False, idle: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self._sabotage = folder, sabotage
        self.port = freePort()
        self.direct = freePort()
        text = self.config.format(
            port=self.port, direct=self.direct, enabled=str(enabled).lower(), limits=limits, more=more, domain=DOMAIN
        )
        self._config = folder / "xmppservice.toml"
        self._config.write_text(text, "utf-8")
        self._log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        #: Where the test tells code inside the server what to do.
        self.rules = folder / "rules"
        self.rules.mkdir()
        self._import(users)
        if not idle:
            self.start()

    def _import(self, users: Sequence[str]) -> None:
        """Fill the database; that of another test with the same users, as it was before its start, serves as well."""
        key, template = tuple(users), self.folder / "template"
        if key in _templates:
            shutil.copytree(_templates[key], self.data)
            return
        self._importAnew(users)
        shutil.copytree(self.data, template)
        _templates[key] = template

    def _importAnew(self, users: Sequence[str]) -> None:
        accounts = self.folder / "accounts"
        jids = [user if "@" in user else f"{user}@{DOMAIN}" for user in users]
        accounts.write_text("".join(f"{jid}\t{PASSWORD}\n" for jid in jids), "utf-8")
        code = "import sys; from xmppservice.ctl.main import main; sys.exit(main())"
        command = ["-c", code, "--config", str(self._config), "user", "import", str(accounts)]
        done = subprocess.run([sys.executable, *command], env=self._environment(), cwd=self.folder,
                              capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return {**os.environ, "PYTHONPATH": path}

    def start(self) -> float:
        """Start the process; returns the seconds until it accepts connections."""
        begin = time.monotonic()
        self.launch()
        while not self._accepts():
            assert self.running and time.monotonic() < begin + 60, f"no start:\n{self.log[-3000:]}"
            time.sleep(0.01)
        return time.monotonic() - begin

    def launch(self) -> None:
        """Start the process and wait for nothing."""
        code = self._sabotage + "from twisted.scripts.twistd import run; run()"
        command = ["-c", code, "--nodaemon", "--pidfile=", "xmpp", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command], env=self._environment(), cwd=self.folder, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """Everything that the processes have written."""
        return self._log.read_text("utf-8", "replace")

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "var"

    @property
    def memory(self) -> int:
        """The resident bytes of the server, without its writer."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize()

    @property
    def writer(self) -> int:
        """The process id of the writer, the only child."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        return int(children[0]) if children else 0

    def kill(self, group: bool = True) -> None:
        """``kill -9``, alone or together with its writer."""
        assert self.process is not None
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM."""
        assert self.process is not None
        self.process.terminate()

    def wait(self, seconds: float) -> int:
        """The exit status, within so many seconds."""
        assert self.process is not None
        return self.process.wait(seconds)

    def end(self) -> None:
        """No process is left behind."""
        if self.running:
            self.kill()
