"""A server in small, to be killed: writes rows as fast as offered and prints what is committed.

``python -m tests.storage.victim FOLDER FIRST``; each line on standard output is the number of a row
that has been committed, and with it all before it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import LoopingCall, deferLater

from tests.storage.support import STANZA, TABLES, drive
from xmppservice.storage.database import Database

#: Rows offered per millisecond.
BURST = 3


@inlineCallbacks
def run(reactor: Any, folder: str, first: int) -> Generator[Any, Any, None]:
    """Write until killed."""
    database = Database("sqlite", folder, reactor, (TABLES,))
    yield database.startService()
    store = database.store
    base = store.committed
    numbers = {base: first - 1}

    def settled(committed: int) -> None:
        os.write(1, b"%d\n" % numbers[committed])

    def offer() -> None:
        for _ in range(BURST):
            number = numbers[base + len(numbers) - 1] + 1
            key = store.append("mark.add", (number, f"word {number}"))
            numbers[key] = number

    store.onCommit(settled)
    loop = LoopingCall(offer)
    loop.clock = reactor
    loop.start(0.001)
    # Held stanzas go another way than marks; one is enough to see it come back.
    database.spool.hold(1, float(first), STANZA)
    numbers[base + len(numbers)] = numbers[base + len(numbers) - 1]
    yield deferLater(reactor, 60)


if __name__ == "__main__":
    drive(lambda reactor: run(reactor, sys.argv[1], int(sys.argv[2])), 90)
