"""What systemd hears of us, on a real datagram socket."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.systemd import Notifier


class NotifierTests(SynchronousTestCase):
    """A notifier, and the socket of a systemd."""

    def setUp(self) -> None:
        """Listen as systemd does."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(self.socket.close)
        self.path = os.path.join(tempfile.mkdtemp(), "notify")
        self.socket.bind(self.path)
        self.clock = Clock()
        self.environ = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "30000000"}

    def heard(self) -> list[str]:
        """All that was said since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def test_life(self) -> None:
        """Ready when started, alive twice per watchdog time, stopping when stopped."""
        notifier = Notifier(self.environ, self.clock, lambda: "5 sessions")
        notifier.startService()
        self.assertEqual(self.heard(), ["READY=1\nSTATUS=5 sessions", "WATCHDOG=1\nSTATUS=5 sessions"])
        self.clock.advance(14.9)
        self.assertEqual(self.heard(), [])
        self.clock.advance(0.1)
        self.assertEqual(len(self.heard()), 1)
        notifier.stopService()
        self.assertEqual(self.heard(), ["STOPPING=1\nSTATUS=stopping"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reload(self) -> None:
        """A reload is announced with its time and ends with READY, refused or not."""
        notifier = Notifier(self.environ, self.clock)
        notifier.reloading()
        notifier.reloaded()
        notifier.reloaded("x.toml:1: wrong\nREADY=0")
        first, second, third = self.heard()
        self.assertTrue(first.startswith("RELOADING=1\nMONOTONIC_USEC="))
        self.assertTrue(first.splitlines()[1].partition("=")[2].isdigit())
        self.assertEqual(second, "READY=1\nSTATUS=running")
        self.assertEqual(third, "READY=1\nSTATUS=reload refused: x.toml:1: wrong READY=0")

    def test_abstract(self) -> None:
        """The socket may be in the abstract namespace."""
        name = f"xmppservice-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind("\0" + name)
            Notifier({"NOTIFY_SOCKET": "@" + name}, self.clock).startService()
            self.assertEqual(listener.recv(100), b"READY=1\nSTATUS=running")

    def test_withoutSystemd(self) -> None:
        """Started by hand nothing happens; a systemd that is gone does not matter."""
        for environ in ({}, {"NOTIFY_SOCKET": self.path + "-gone", "WATCHDOG_USEC": "x"}):
            notifier = Notifier(environ, self.clock)
            notifier.startService()
            notifier.stopService()
        self.assertEqual(self.heard(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_noWatchdog(self) -> None:
        """Without a watchdog time there is one message and no timer."""
        Notifier({"NOTIFY_SOCKET": self.path}, self.clock).startService()
        self.assertEqual(len(self.heard()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
