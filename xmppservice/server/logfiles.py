"""Where the log goes: what twistd was told, done with our own observer."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from twisted.logger import ILogObserver
from twisted.python.logfile import LogFile

from xmppservice.server.logs import Lines


def isJournal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream goes to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def sameTarget(one: TextIO | None, other: TextIO | None) -> bool:
    """Whether two streams end in the same place, such as one terminal."""
    if one is None or other is None:
        return False
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())
    except (OSError, ValueError):
        return False


def toStream(stream: TextIO) -> Callable[[str], None]:
    """Write to a stream, in UTF-8 whatever the locale says."""
    binary = getattr(stream, "buffer", None)

    def write(text: str) -> None:
        if binary is None:
            stream.write(text)
        else:
            binary.write(text.encode("utf-8", "backslashreplace"))
        stream.flush()

    return write


def toFile(path: str, reactor: Any) -> Callable[[str], None]:
    """Write to a file that is turned over when it is long, or, as with twistd's own, on SIGUSR1."""
    file = LogFile.fromFullPath(path)
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: reactor.callFromThread(file.rotate))
    return lambda text: file.write(text)


def linesFor(told: Mapping[str, Any], reactor: Any, environment: Mapping[str, str]) -> Lines | None:
    """An observer for what twistd was `told`; None where that leaves it to somebody else (syslog, ``--logger``)."""
    if told.get("syslog") or told.get("logger"):
        return None
    name, foreground = told.get("logfile"), bool(told.get("nodaemon"))
    if name == "-" and not foreground:
        # twistd itself says that this cannot be.
        return None
    if name == "-" or (foreground and not name):
        return Lines(toStream(sys.stdout), reactor, isJournal(sys.stdout, environment))
    return Lines(toFile(name or "twistd.log", reactor), reactor)


def useFor(application: Any, lines: Lines) -> None:
    """Have twistd log through `lines`, unless the application has brought an observer."""
    if application.getComponent(ILogObserver, None) is None:
        application.setComponent(ILogObserver, lines)
