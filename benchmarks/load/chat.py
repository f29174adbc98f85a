"""Chat between pairs: saturated with a window, or at a fixed rate.

Sender and receiver know how the stanzas look, so a batch is made with one ``join`` and checked with one list
comparison: numbers must arrive complete and in order (RFC 6120 section 10.1).
"""

import re
import time
from collections.abc import Sequence
from typing import Protocol

from benchmarks.load.crowd import Crowd, crowd
from benchmarks.load.dialogue import Session, Target
from benchmarks.load.link import Link, LoadError
from benchmarks.load.result import Result, Watch

PAIRS = 50
WINDOW = 10
BODY = b"Whether the harvest was good or bad, the miller counted every sack twice before he slept that night."
WARM_UP = 1.0

_END = b"</message>"
_NUMBER = re.compile(rb"\sid=['\"]lg(\d{8})['\"]")

assert len(BODY) == 100


class Numbers:
    """Message numbers as eight digits each, made once and grown by need."""

    def __init__(self) -> None:
        self._known: list[bytes] = []

    def between(self, first: int, last: int) -> list[bytes]:
        """The numbers ``first`` to ``last - 1``."""
        if last > len(self._known):
            self._known += [b"%08d" % number for number in range(len(self._known), last + 4096)]
        return self._known[first:last]


NUMBERS = Numbers()


class Book:
    """What all pairs of a run count together."""

    __slots__ = ("acks", "delivered", "problems", "samples", "sending")

    def __init__(self) -> None:
        self.delivered = 0
        self.sending = True
        self.samples: list[float] = []
        self.acks: list[float] = []
        self.problems: list[str] = []


class End(Protocol):
    """Who sends or receives: a session, or an address of a component."""

    user: str
    jid: bytes
    link: Link


class Pair:
    """One sender, one receiver."""

    __slots__ = ("_between", "_head", "_rest", "_tail", "_times", "book", "got", "receiver", "sender", "sent")

    def __init__(self, sender: End, receiver: End, book: Book) -> None:
        self.sender, self.receiver, self.book = sender, receiver, book
        self.sent = self.got = 0
        self._times: list[float] = []
        self._rest = b""
        self._head = self.head()
        self._tail = b"'><body>" + BODY + b"</body></message>"
        self._between = self._tail + self._head
        receiver.link.ready = self.received
        sender.link.ready = self.returned

    def head(self) -> bytes:
        """A message up to its number."""
        return b"<message to='" + self.receiver.jid + b"' type='chat' id='lg"

    def send(self, count: int, now: float) -> None:
        """Send ``count`` messages at once."""
        first, last = self.sent, self.sent + count
        self.sent = last
        self._times += [now] * count
        self.sender.link.write(self._head + self._between.join(NUMBERS.between(first, last)) + self._tail)

    def received(self) -> None:
        """Count what reached the receiver and let the sender send as many again."""
        data = self._rest + self.receiver.link.read()
        end = data.rfind(_END)
        if end < 0:
            self._rest = data
            return
        self._rest = data[end + 10 :]
        self.deliver(_NUMBER.findall(data, 0, end))

    def deliver(self, found: list[bytes]) -> None:
        """Check and time the message numbers that arrived, and top the window up."""
        book, got, now = self.book, self.got, time.perf_counter()
        self.got = upto = got + len(found)
        if found != NUMBERS.between(got, upto):
            book.problems.append(f"{self.receiver.user}: expected {got} to {upto - 1}, got {found[:12]!r}")
        book.samples += [now - sent for sent in self._times[got:upto]]
        book.delivered += len(found)
        if book.sending and found:
            self.send(len(found), now)

    def returned(self) -> None:
        """A plain sender should hear nothing: errors come back to it."""
        data = self.sender.link.read()
        if b"error" in data:
            self.book.problems.append(f"{self.sender.user} got {data[:300]!r}")


def pairsOf(live: list[Session], book: Book) -> list[Pair]:
    """The open sessions two by two."""
    live = sorted(live, key=lambda session: int(session.user.removeprefix("user")))
    return [Pair(live[2 * n], live[2 * n + 1], book) for n in range(len(live) // 2)]


def drain(people: Crowd, pairs: Sequence[Pair], book: Book) -> None:
    """Stop sending; all that was sent must arrive."""
    book.sending = False
    try:
        people.loop.run(lambda: book.delivered >= sum(pair.sent for pair in pairs), 60.0, 10.0)
    except LoadError as problem:
        book.problems.append(str(problem))
    people.loop.pause(0.1)
    for pair in pairs:
        if pair.sent != pair.got:
            book.problems.append(f"{pair.receiver.user} got {pair.got} of {pair.sent}")


def measured(people: Crowd, book: Book, watch: Watch, seconds: float, least: int = 0) -> tuple[Watch, int, list[float]]:
    """Warm up, then watch ``seconds`` of a running exchange: (watch, deliveries, latencies).

    Up to ten times as long if fewer than ``least`` deliveries were made: a slow server makes them in bursts.
    """
    people.loop.pause(WARM_UP)
    book.samples.clear()
    book.acks.clear()
    start = book.delivered
    watch.start()
    people.loop.pause(seconds)
    end, limit = time.perf_counter() + 9 * seconds, 10 * seconds + 5.0
    people.loop.run(lambda: book.delivered - start >= least or time.perf_counter() > end, limit, limit)
    watch.stop()
    return watch, book.delivered - start, list(book.samples)


def chat(target: Target, pid: int, seconds: float) -> Result:
    """50 pairs, 10 messages of 100 bytes in flight each, to the full JID."""
    book = Book()
    with crowd(target) as people, people.opened(people.session(n) for n in range(2 * PAIRS)) as live:
        pairs = pairsOf(live, book)
        for pair in pairs:
            pair.send(WINDOW, time.perf_counter())
        watch, count, samples = measured(people, book, Watch(pid), seconds)
        drain(people, pairs, book)
    return watch.fill(Result("chat", target.tls, "msg", problems=book.problems), count, samples)


class _Clock:
    """Sends what is due, going round the pairs, until all is sent."""

    def __init__(self, pairs: list[Pair], rate: float, count: int) -> None:
        self._pairs, self._rate, self._count = pairs, rate, count
        self._start = time.perf_counter()
        self._sent = 0

    def tick(self) -> bool:
        """Send all that is due; False at the end."""
        now = time.perf_counter()
        due = min(self._count, int((now - self._start) * self._rate) + 1)
        while self._sent < due:
            self._pairs[self._sent % len(self._pairs)].send(1, now)
            self._sent += 1
        return self._sent < self._count


def rate(target: Target, pid: int, seconds: float, perSecond: float = 1000.0) -> Result:
    """The same pairs at a fixed rate, open loop."""
    book = Book()
    book.sending = False
    with crowd(target) as people, people.opened(people.session(n) for n in range(2 * PAIRS)) as live:
        pairs = pairsOf(live, book)
        watch = Watch(pid)
        _keepRate(people, pairs, perSecond, WARM_UP)
        book.samples.clear()
        start = book.delivered
        watch.start()
        _keepRate(people, pairs, perSecond, seconds)
        watch.stop()
        count = book.delivered - start
        samples = list(book.samples)
        drain(people, pairs, book)
    return watch.fill(Result("rate", target.tls, "msg", problems=book.problems), count, samples)


def _keepRate(people: Crowd, pairs: list[Pair], perSecond: float, seconds: float) -> None:
    clock = _Clock(pairs, perSecond, int(perSecond * seconds))
    people.loop.runTimed(clock.tick, 1.0 / perSecond, seconds * 4 + 10)
