"""Starts the real server in a folder of its own, with users, and stops it again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.load.link import LoadError
from benchmarks.load.place import Place

_ROOT = Path(__file__).resolve().parents[2]

_CONFIG = """\
data = "var"

[database]
url = "sqlite"

[listen]
c2s = ["tcp:{place.port}:interface=127.0.0.1"]
c2s_tls = ["tcp:{place.tlsPort}:interface=127.0.0.1"]
component = ["tcp:{place.service.port}:interface=127.0.0.1"]
{listen}
[tls]
policy = "optional"
certificates = "{place.certificate.chain.parent}"

[limits]
enabled = false
{federation}
[hosts."{place.domain}"]

[ports."{place.service.domain}"]
kind = "component"
secret_file = "component.secret"
"""

_FEDERATION = """
[s2s]
authorities = "{met.authority}"
overrides = [{overrides}]
"""


def configuration(place: Place) -> str:
    """The text of our server's configuration."""
    met = place.federation
    if met is None:
        return _CONFIG.format(place=place, listen="", federation="")
    overrides = ", ".join(f'"{domain} = 127.0.0.1:{port}"' for domain, port in met.neighbours)
    federation = _FEDERATION.format(met=met, overrides=overrides)
    return _CONFIG.format(place=place, listen=f's2s = ["tcp:{met.port}:interface=127.0.0.1"]\n', federation=federation)


class LocalServer:
    """The project's own server, started with this interpreter's ``twistd``, every default module enabled.

    TLS is optional and limits are off; the database is an SQLite file, so that acknowledgements wait for the disk.
    """

    def __init__(self, place: Place, password: str, profile: Path | None = None) -> None:
        self.place, self.password = place, password
        self.folder = place.folder
        self._profile = profile
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._config = place.folder / "bench.toml"
        place.folder.mkdir(parents=True, exist_ok=True)
        _private(self._config, configuration(place))
        _private(place.folder / "component.secret", place.service.secret)

    def importUsers(self, numbers: Iterable[int]) -> int:
        """Create the users that an earlier run in this folder has not created; the server must be down."""
        done = self.folder / "users.done"
        have = set(done.read_text().split()) if done.exists() else set()
        new = [name for number in numbers if (name := f"user{number}") not in have]
        if new:
            listing = self.folder / "users.tsv"
            listing.write_text("".join(f"{name}@{self.place.domain}\t{self.password}\n" for name in new))
            listing.chmod(0o600)
            self._command("xmppctl", "--config", str(self._config), "user", "import", str(listing))
            done.write_text("\n".join(sorted(have | set(new))))
        return len(new)

    def start(self, limit: float = 30.0) -> None:
        """Start the server and wait until it listens."""
        profiling = ["--savestats", "--profiler=cprofile", f"--profile={self._profile}"] if self._profile else []
        command = [*_program("twistd"), "-n", "--pidfile=", *profiling, "xmpp", "--config", str(self._config)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.pid = self._process.pid
        end = time.perf_counter() + limit
        while not (_listens(self.place.port) and _listens(self.place.tlsPort)):
            if self._process.poll() is not None or time.perf_counter() > end:
                tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise LoadError(f"the server does not listen:\n{tail}")
            time.sleep(0.05)
        # Imports and the writer's start go on after the ports are open; they are no part of any workload.
        time.sleep(1.0)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if it is still there after 15 seconds; safe to call twice."""
        process, self._process, self.pid = self._process, None, 0
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5.0)

    def _command(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [*_program(name), *arguments],
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=180.0,
        )
        if done.returncode:
            raise LoadError(f"{name} {' '.join(arguments)}: {done.stderr.decode(errors='replace')[-1000:]}")


def _program(name: str) -> list[str]:
    """A program of the environment that runs us; `xmppctl` also where the project is not installed."""
    path = Path(sys.executable).parent / name
    if path.exists() or name != "xmppctl":
        return [str(path)]
    return [sys.executable, "-c", "import sys; from xmppservice.ctl.main import main; sys.exit(main())"]


def _environment() -> dict[str, str]:
    """Our own, with this checkout in the path."""
    return os.environ | {"PYTHONPATH": str(_ROOT)}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def _private(path: Path, text: str) -> None:
    """Write a file that only we may read."""
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(text)
