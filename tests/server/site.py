"""A folder with a configuration, the real server in a process of its own, and what one does with both."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.attack.raw import RawClient
from tests.interop.processes import Child, accepts, freePort, waitFor
from tests.sources import ROOT
from xmppservice.ctl.client import Client
from xmppservice.hub.commands import Result

PASSWORD = "Tr0ub4dor & 3"
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
LOCAL = '[hosts."localhost"]\n'


def environment(**more: str) -> dict[str, str]:
    """The environment in which server and xmppctl run: nothing of ours leaks into them."""
    dropped = ("XMPPSERVICE_CONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def writersOf(folder: Path) -> list[int]:
    """The writer processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"xmppservice.storage.writerprocess" in words and any(str(folder).encode() in word for word in words):
                found.append(int(entry.name))
    return found


class Site:
    """One server. `text` is the configuration behind the keys that every test needs; None is none at all."""

    def __init__(self, folder: Path, text: str | None = LOCAL, listen: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port, self.directPort = freePort(), freePort()
        self.options: list[str] = []
        self.environment: dict[str, str] = {}
        self.child: Child | None = None
        self.listening = listen
        if text is not None:
            self.write(text)
            self.options = ["--config", "xmppservice.toml"]

    def write(self, text: str) -> None:
        """The configuration: where to listen, certificates made on the first start, and then `text`."""
        listen = (
            f'[listen]\nc2s = ["tcp:{self.port}:interface=127.0.0.1"]\n'
            f'c2s_tls = ["tcp:{self.directPort}:interface=127.0.0.1"]\n'
        )
        tls = "" if "[tls]" in text else "[tls]\ndevelopment_certificates = true\n"
        (self.folder / "xmppservice.toml").write_text((listen if self.listening else "") + tls + text, "utf-8")

    def addToPath(self) -> None:
        """The server finds Python modules in the folder, as those of somebody who writes one."""
        self.environment["PYTHONPATH"] = os.pathsep.join((environment()["PYTHONPATH"], str(self.folder)))

    # -- the process -----------------------------------------------------------------------------

    def launch(self, *options: str, wrapper: Sequence[str] = (), **more: str) -> Child:
        """Start the process and wait for nothing."""
        command = [*wrapper, *TWISTD, "xmpp", *self.options, *options]
        env = environment(**{**self.environment, **more})
        self.child = Child(command, self.folder / "server.log", self.folder, env)
        return self.child

    def start(self, *options: str, **more: str) -> float:
        """Start and wait until the server says that it is up; returns after how long."""
        before = self.log.count("serving ")
        begin = time.monotonic()
        child = self.launch(*options, **more)
        while self.log.count("serving ") == before:
            assert child.running(), self.log
            assert time.monotonic() - begin < 60, self.log
            time.sleep(0.01)
        return time.monotonic() - begin

    def refuse(self, *options: str) -> tuple[str, float]:
        """A start that must fail with status 1, one line on stderr, and nothing left; returns line and seconds."""
        begin = time.monotonic()
        done = subprocess.run(
            [*TWISTD, "xmpp", *self.options, *options],
            cwd=self.folder, env=environment(**self.environment), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        took = time.monotonic() - begin
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("xmppservice: "), done.stderr
        assert "xmppservice: xmppservice:" not in done.stderr
        return done.stderr.removeprefix("xmppservice: ").rstrip("\n"), took

    def nothingLeft(self) -> bool:
        """No port is open, no writer lives, no control socket is there."""
        listening = accepts(self.port) or accepts(self.directPort)
        return not (listening or writersOf(self.folder) or (self.folder / "var" / "control.sock").exists())

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's process."""
        assert self.child is not None
        return self.child.process

    @property
    def log(self) -> str:
        """All that servers of this folder have said."""
        path = self.folder / "server.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def stop(self, number: int = signal.SIGTERM) -> float:
        """End the server with a signal and see that all went well; returns how many seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(60)
        assert status == 0, (status, self.log)
        assert "Traceback" not in self.log, self.log
        return time.monotonic() - begin

    def end(self) -> None:
        """The end of a test, however it went."""
        if self.child is not None and self.child.running():
            self.process.kill()
            self.process.wait()

    def hangUp(self) -> None:
        """SIGHUP, and wait until the server has taken it up or refused it."""
        before = self._reloads()
        self.process.send_signal(signal.SIGHUP)
        waitFor("the reload", lambda: self._reloads() > before)

    def _reloads(self) -> int:
        return self.log.count("was read again") + self.log.count("reload was refused")

    # -- xmppctl ---------------------------------------------------------------------------------

    def ctl(self, *words: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """xmppctl as a process, in the folder of the site."""
        done = subprocess.run(
            [sys.executable, "-m", "xmppservice.ctl", *words],
            cwd=self.folder, env=environment(**self.environment), input=input, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def command(self, verb: str, /, **arguments: Any) -> Result:
        """A command of the running server over its control socket, without a process; raises `CommandError`."""
        client = Client(str(self.folder / "var" / "control.sock"))
        try:
            return client.run(verb, arguments)
        finally:
            client.close()

    def users(self, *jids: str) -> None:
        """Accounts with the one password."""
        for jid in jids:
            self.command("user add", jid=jid, password=PASSWORD)

    # -- clients ---------------------------------------------------------------------------------

    @property
    def ca(self) -> Path:
        """The authority of the certificates."""
        return next(path for path in (self.folder / "certs", self.folder / "var/certs") if path.exists()) / "ca.crt"

    def secured(self, domain: str = "localhost", direct: bool = False) -> RawClient:
        """A stream with verified TLS, before authentication."""
        client = RawClient(self.directPort if direct else self.port, "127.0.0.1")
        if direct:
            client.wrap(self.ca, domain)
        else:
            client.open(domain)
            client.startTLS(self.ca, domain)
        client.open(domain)
        return client

    def login(self, jid: str, resource: str = "r", password: str = PASSWORD) -> RawClient:
        """A bound and available session of an account."""
        local, _, domain = jid.partition("@")
        client = self.secured(domain)
        answer = client.scram(local, password)
        assert answer.name == "success", answer
        client.restart()
        client.open(domain)
        client.bind(resource)
        client.available()
        return client


def fingerprint(client: RawClient) -> bytes:
    """Which certificate a client was shown."""
    shown: bytes | None = client.socket.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def sniCertificate(port: int, name: str | None) -> bytes:
    """The certificate that direct TLS shows for a name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = RawClient(port, "127.0.0.1")
    client.socket = context.wrap_socket(client.socket, server_hostname=name)
    shown = fingerprint(client)
    client.close()
    return shown
