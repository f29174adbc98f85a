"""Costs of the storage: appending, holding and settling, the writer's CPU, ticket latency.

Run ``python -m benchmarks.micro_writer``; figures are for a file in a temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from typing import Any, cast

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import LoopingCall, deferLater, react

from xmppservice.storage.database import Database
from xmppservice.storage.writer import WriterStore

STANZA = (
    b"<message from='juliet@example.com/balcony' to='romeo@example.net' type='chat' id='x'>"
    + b"x" * 150
    + b"</message>"
)


def processorTime(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def perCall(function: Callable[[], object], count: int) -> float:
    """Microseconds of one call."""
    start = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - start) / count * 1e6


@inlineCallbacks
def costs(database: Database, account: int) -> Generator[Deferred[Any], Any, None]:
    """What the reactor pays."""
    store = database.store
    row = (account, 1.0, STANZA)
    append, hold, settle = store.append, database.spool.hold, database.spool.settle
    print(f"append                 {perCall(lambda: append('offline.store', row), 20_000):6.2f} µs")
    start = time.perf_counter()
    yield store.whenCommitted(database._writer.last)
    print(f"  commit of 20,000 rows {(time.perf_counter() - start) * 1e3:6.1f} ms")

    def exchange() -> None:
        settle(hold(account, 1.0, STANZA)[0])

    print(f"hold and settle        {perCall(exchange, 20_000):6.2f} µs")
    yield store.whenCommitted(database._writer.last)
    yield database.accounts.create(1, "romeo", b"")
    start = time.perf_counter()
    for _ in range(2000):
        yield database.accounts.record(1, "romeo")
    print(f"account record         {(time.perf_counter() - start) / 2000 * 1e6:6.2f} µs")


@inlineCallbacks
def latency(reactor: Any, database: Database, account: int, rate: int, seconds: float) -> Generator[Any, Any, None]:
    """Ticket latency and the writer's CPU at an offered rate."""
    store = cast(WriterStore, database.store)
    sent: list[tuple[int, float]] = []
    taken: list[float] = []
    begin = time.perf_counter()

    def offer() -> None:
        now = time.perf_counter()
        while len(sent) < (now - begin) * rate:
            sent.append((store.append("offline.store", (account, 1.0, STANZA)), now))

    def settled(committed: int) -> None:
        now = time.perf_counter()
        while len(taken) < len(sent) and sent[len(taken)][0] <= committed:
            taken.append(now - sent[len(taken)][1])

    cancel = store.onCommit(settled)
    pid = store.writerPid or 0
    child, own, batches = processorTime(pid), time.process_time(), store.batches
    loop = LoopingCall(offer)
    loop.clock = reactor
    loop.start(0.001)
    yield deferLater(reactor, seconds)
    loop.stop()
    yield store.whenCommitted(sent[-1][0])
    cancel()
    taken.sort()
    count = len(taken)
    print(
        f"{rate} rows/s: latency p50 {taken[count // 2] * 1e3:.1f} ms, p99 {taken[count * 99 // 100] * 1e3:.1f} ms;"
        f" writer {(processorTime(pid) - child) / count * 1e6:.1f} µs a row,"
        f" reactor {(time.process_time() - own) / count * 1e6:.1f} µs a row (offering included),"
        f" {count / (store.batches - batches):.0f} rows a batch"
    )


@inlineCallbacks
def main(reactor: Any) -> Generator[Any, Any, None]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database("sqlite", folder, reactor)
        start = time.perf_counter()
        yield database.startService()
        print(f"start                  {(time.perf_counter() - start) * 1e3:6.0f} ms")
        host = yield database.accounts.hostId("example.com")
        account = yield database.accounts.create(host, "juliet", b"")
        yield costs(database, account)
        for rate in (500, 5000):
            yield latency(reactor, database, account, rate, 3.0)
        yield database.stopService()


if __name__ == "__main__":
    react(main, sys.argv[1:])
