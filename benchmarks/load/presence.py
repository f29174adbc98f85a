"""Presence changes to many contacts, and sessions that only sit there."""

import re
import time
from collections import Counter
from functools import partial

from benchmarks.load.chat import Book, measured
from benchmarks.load.crowd import RING, Crowd, crowd, settle
from benchmarks.load.dialogue import Session, Target
from benchmarks.load.link import LoadError
from benchmarks.load.meter import Memory, calibrate, readCpu, readMemory
from benchmarks.load.result import Result, Watch

#: The ring with many contacts, how many, and how many changes are on the way at once.
FIRST, CONTACTS = 5000, 50
FLYING = 10
#: Every change also comes back to the session that made it.
COPIES = CONTACTS + 1

_STATUS = re.compile(rb"<status>lg(\d{8})</status>")
_END = b"</presence>"
_SHOWS = (b"away", b"dnd", b"xa")


class _Fan:
    """Numbered presence changes; each must reach all contacts and its own session.

    A change arrives on 51 connections at nearly the same time, so what all have read is searched and counted
    together.
    """

    def __init__(self, people: Crowd, live: list[Session], book: Book) -> None:
        self._live, self.book = live, book
        self._times: list[float] = []
        self._read: list[bytes] = []
        self.counts: list[int] = []
        self.finished = 0
        for session in live:
            session.link.ready = partial(self._readable, session)
        people.loop.between = self._count

    def change(self) -> None:
        """Let the next user's presence change."""
        number = len(self.counts)
        self.counts.append(0)
        show = _SHOWS[number // len(self._live) % len(_SHOWS)]
        text = b"<presence><show>%s</show><status>lg%08d</status></presence>" % (show, number)
        self._times.append(time.perf_counter())
        self._live[number % len(self._live)].link.write(text)

    def _readable(self, session: Session) -> None:
        data = session.link.read()
        if session.rest or not data.endswith(_END):
            data = session.rest + data
            end = data.rfind(_END) + len(_END) if _END in data else 0
            session.rest, data = data[end:], data[:end]
        self._read.append(data)

    def _count(self) -> None:
        """Count what has been read since the last time, and let changes follow those that have reached everybody."""
        book, now = self.book, time.perf_counter()
        found = Counter(_STATUS.findall(b"".join(self._read)))
        self._read.clear()
        for digits, copies in found.items():
            number = int(digits)
            self.counts[number] += copies
            book.samples += [now - self._times[number]] * copies
            book.delivered += copies
            if self.counts[number] == COPIES:
                self.finished += 1
                if book.sending:
                    self.change()


def presence(target: Target, pid: int, seconds: float) -> Result:
    """100 users with 50 contacts each; 10 presence changes on the way at once."""
    book = Book()
    with crowd(target) as people, people.opened(people.session(FIRST + n) for n in range(RING)) as live:
        fan = _Fan(people, live, book)
        for _ in range(FLYING):
            fan.change()
        watch, count, samples = measured(people, book, Watch(pid), seconds)
        book.sending = False
        try:
            people.loop.run(lambda: fan.finished == len(fan.counts), 30.0, 5.0)
        except LoadError as problem:
            book.problems.append(str(problem))
        people.loop.pause(0.1)
        if wrong := [number for number, copies in enumerate(fan.counts) if copies != COPIES]:
            book.problems.append(f"{len(wrong)} of {len(fan.counts)} changes not delivered {COPIES} times")
    return watch.fill(Result("presence", target.tls, "stanza", problems=book.problems), count, samples)


def idle(target: Target, pid: int, sessions: int = 5000, hold: float = 10.0) -> Result:
    """Memory per session: sessions with roster and presence that then say nothing."""
    calibration = calibrate()
    with crowd(target) as people:
        before, opening, start = readMemory(pid), readCpu(pid), time.perf_counter()
        own = time.process_time()
        live = people.openAll(people.session(n) for n in range(sessions))
        seconds = time.perf_counter() - start
        own = time.process_time() - own
        settle(people.loop, live, 1.0, 60.0)
        opened = readCpu(pid)
        people.loop.pause(hold)
        after, resting = readMemory(pid), readCpu(pid)
        result = Result("idle", target.tls, "login", seconds, len(live), len(live) / seconds)
        result.serverMicros = sum(opened.since(opening)) / len(live)
        result.clientMicros = own * 1e6 / len(live)
        result.calibrationMs = (calibration, calibrate())
        result.extra = _memory(before, after, len(live))
        result.extra["idleCores"] = sum(resting.since(opened)) / 1e6 / hold
    return result


def _memory(before: Memory, after: Memory, many: int) -> dict[str, float]:
    """Growth in KiB for each session: the server process alone, and its children."""
    return {
        "rssKiB": (after.rss - before.rss) / many,
        "pssKiB": (after.pss - before.pss) / many,
        "writerRssKiB": (after.childRss - before.childRss) / many,
        "writerPssKiB": (after.childPss - before.childPss) / many,
        "rssTotalMiB": (after.rss + after.childRss) / 1024,
    }
