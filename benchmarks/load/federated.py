"""Messages between users of two servers: one link carries them all."""

import time
from dataclasses import dataclass

from benchmarks.load.chat import PAIRS, WINDOW, Book, Pair, drain, measured
from benchmarks.load.crowd import crowd
from benchmarks.load.dialogue import Session, Target
from benchmarks.load.result import Result, Watch

#: A first message waits for names, TLS and authentication between the servers.
_FIRST = 60.0


@dataclass(frozen=True)
class Site:
    """One of the two servers: how clients reach it, and its process."""

    target: Target
    pid: int


def s2s(name: str, near: Site, far: Site, seconds: float) -> Result:
    """50 users of one server write to one user each of the other, 10 messages of 100 bytes in flight each.

    CPU time is that of both servers together; ``nearMicros`` is the sending side's share, ``farMicros`` the other's.
    """
    book = Book()
    with crowd(near.target) as people:
        senders = [people.session(number) for number in range(PAIRS)]
        receivers = [Session(people.loop, far.target, people.context, f"user{number}") for number in range(PAIRS)]
        with people.opened([*senders, *receivers]):
            pairs = [Pair(sender, receiver, book) for sender, receiver in zip(senders, receivers, strict=True)]
            book.sending = False
            pairs[0].send(1, time.perf_counter())
            people.loop.run(lambda: bool(book.delivered or book.problems), _FIRST, _FIRST)
            book.sending = True
            for pair in pairs:
                pair.send(WINDOW, time.perf_counter())
            watch, count, samples = measured(people, book, Watch(near.pid, far.pid), seconds)
            drain(people, pairs, book)
    result = watch.fill(Result(name, near.target.tls, "msg", problems=book.problems), count, samples)
    result.extra = dict(zip(("nearMicros", "farMicros"), (spent / max(count, 1) for spent in watch.each), strict=True))
    return result
