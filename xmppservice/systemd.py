"""Telling systemd how we do: sd_notify(3) messages and the watchdog."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()


class Notifier(Service):
    """The last child of the tree: started when all others run, stopped first.

    Without ``NOTIFY_SOCKET`` in the environment every call does nothing.
    """

    name = "systemd"

    def __init__(
        self, environ: Mapping[str, str], clock: IReactorTime, status: Callable[[], str] = lambda: "running"
    ) -> None:
        """
        @param status: gives one line for ``systemctl status``, sent with each sign of life.
        """
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._status = status
        self._call: IDelayedCall | None = None
        microseconds = environ.get("WATCHDOG_USEC", "")
        self._interval = int(microseconds) / 2_000_000 if microseconds.isascii() and microseconds.isdigit() else 0.0

    def startService(self) -> None:
        """Say that the server is up, and keep saying that it lives."""
        self.running = 1
        self.send("READY=1", f"STATUS={self._status()}")
        self._beat()

    def stopService(self) -> None:
        """Say that the server goes down."""
        self.running = 0
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        self.send("STOPPING=1", "STATUS=stopping")

    def reloading(self) -> None:
        """Say that a reload begins; `reloaded` must follow."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def reloaded(self, problem: str = "") -> None:
        """Say that the reload is over, and why it was refused if it was."""
        self.send("READY=1", f"STATUS={'reload refused: ' + problem if problem else self._status()}")

    def _beat(self) -> None:
        if self._address and self._interval > 0:
            self.send("WATCHDOG=1", f"STATUS={self._status()}")
            self._call = self._clock.callLater(self._interval, self._beat)

    def send(self, *fields: str) -> None:
        """Send one datagram of ``NAME=value`` fields; a systemd that does not listen is logged and no more."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        message = "\n".join(field.replace("\n", " ") for field in fields)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message.encode("utf-8"), address)
        except OSError as error:
            _log.warn("systemd was not told {message}: {error}", message=fields[0], error=error)
