"""Stream management (XEP-0198): chat with acknowledgements, and messages to users who are offline."""

import re
import time
from collections import deque

from benchmarks.load.chat import BODY, NUMBERS, PAIRS, WINDOW, Book, Pair, drain, measured
from benchmarks.load.crowd import Crowd, acknowledge, crowd, settle
from benchmarks.load.dialogue import ASKED, STANZA, Session, Target
from benchmarks.load.link import LoadError
from benchmarks.load.meter import percentile
from benchmarks.load.result import Result, Watch

#: An acknowledgement is asked for every so many messages.
EVERY = 10
#: Batches of `EVERY` that an offline sender has on the way.
BATCHES = 2
#: The users who are offline, and the most messages for one of them (servers limit what they keep).
OFFLINE_FIRST, OFFLINE_USERS, OFFLINE_MOST = 100, 200, 900

_REQUEST = b"<r xmlns='urn:xmpp:sm:3'/>"
_ANSWER = re.compile(rb"<a\s[^>]*?\bh=['\"](\d+)['\"][^>]*>")
_END = b"</message>"
_NUMBER = re.compile(rb"\sid=['\"]lg(\d{8})['\"]")
_LONG = re.compile(rb"\sid=['\"]lg(\d{3}-\d{8})['\"]")


class Requests:
    """The acknowledgements one session waits for.

    What counts is the time until an <a/> covers everything sent before the <r/>: a server may answer early with less.
    """

    __slots__ = ("_waiting", "book", "covered", "session")

    def __init__(self, session: Session, book: Book) -> None:
        self.session, self.book = session, book
        self.covered = session.sent
        self._waiting: deque[tuple[int, float]] = deque()

    def ask(self, now: float) -> bytes:
        """The request to send after everything sent so far."""
        self._waiting.append((self.session.sent, now))
        return _REQUEST

    def read(self, data: bytes) -> None:
        """Find acknowledgements in complete input."""
        waiting = self._waiting
        for text in _ANSWER.findall(data):
            self.covered, now = int(text), time.perf_counter()
            if self.covered > self.session.sent:
                self.book.problems.append(f"{self.session.user}: h={self.covered} of {self.session.sent} sent")
            while waiting and waiting[0][0] <= self.covered:
                self.book.acks.append(now - waiting.popleft()[1])


class AckedPair(Pair):
    """A pair with stream management on both sides."""

    __slots__ = ("requests",)

    sender: Session
    receiver: Session

    def __init__(self, sender: Session, receiver: Session, book: Book) -> None:
        super().__init__(sender, receiver, book)
        self.requests = Requests(sender, book)

    def send(self, count: int, now: float) -> None:
        """Send messages, with a request after every tenth."""
        parts = []
        session, first, last = self.sender, self.sent, self.sent + count
        self._times += [now] * count
        while first < last:
            upto = min(last, first - first % EVERY + EVERY)
            parts += [self._head, self._between.join(NUMBERS.between(first, upto)), self._tail]
            session.sent += upto - first
            first = upto
            if first % EVERY == 0:
                parts.append(self.requests.ask(now))
        self.sent = last
        session.link.write(b"".join(parts))

    def received(self) -> None:
        """Count messages, and answer the server's requests with what lay before each."""
        session = self.receiver
        data = self._rest + session.link.read()
        end = data.rfind(_END) + len(_END) if _END in data else 0
        if b"<r" in data:
            for asked in ASKED.finditer(data):
                acknowledge(session, session.received + len(STANZA.findall(data, 0, asked.start())))
                end = max(end, asked.end())
        if end:
            self._rest = data[end:]
            found = _NUMBER.findall(data, 0, end)
            session.received += len(found)
            self.deliver(found)
        else:
            self._rest = data

    def returned(self) -> None:
        """The sender hears acknowledgements and requests, nothing else."""
        readControl(self.sender, self.requests)


def readControl(session: Session, requests: Requests) -> None:
    """Read what a sender is sent: <a/> and <r/>; any message is an error of the server's."""
    data = session.rest + session.link.read()
    end = data.rfind(b">") + 1
    session.rest, data = data[end:], data[:end]
    requests.read(data)
    for _ in ASKED.findall(data):
        acknowledge(session, session.received)
    if b"<message" in data:
        session.received += len(STANZA.findall(data))
        requests.book.problems.append(f"{session.user} got {data[:300]!r}")


def sm(target: Target, pid: int, seconds: float) -> Result:
    """The chat pairs with XEP-0198 on both sides, an acknowledgement asked every 10 messages."""
    book = Book()
    with crowd(target) as people, people.opened(people.session(n, "bench", True) for n in range(2 * PAIRS)) as live:
        live.sort(key=lambda session: int(session.user.removeprefix("user")))
        pairs = [AckedPair(live[2 * n], live[2 * n + 1], book) for n in range(PAIRS)]
        for pair in pairs:
            pair.send(WINDOW, time.perf_counter())
        watch, count, samples = measured(people, book, Watch(pid), seconds)
        acks = list(book.acks)
        drain(people, pairs, book)
        _finish(people, [pair.requests for pair in pairs], book)
    return _withAcks(watch.fill(Result("sm", target.tls, "msg", problems=book.problems), count, samples), acks)


def _withAcks(result: Result, acks: list[float]) -> Result:
    """Add the acknowledgement's latency to a result."""
    result.extra |= {
        "acks": len(acks),
        "ackP50Ms": percentile(acks, 0.5) * 1e3,
        "ackP99Ms": percentile(acks, 0.99) * 1e3,
    }
    return result


def _finish(people: Crowd, requests: list[Requests], book: Book) -> None:
    """Ask for a last acknowledgement: it must cover everything."""
    now = time.perf_counter()
    for request in requests:
        request.session.link.write(request.ask(now))
    try:
        people.loop.run(lambda: all(r.covered >= r.session.sent for r in requests), 20.0)
    except LoadError as problem:
        missing = sum(r.session.sent - r.covered for r in requests)
        book.problems.append(f"{missing} stanzas never acknowledged: {problem}")


class _Depositor:
    """One sender whose messages go to offline users, ten to each in turn."""

    __slots__ = ("_domain", "_number", "_ours", "_turn", "open", "requests", "sent", "session")

    def __init__(self, session: Session, number: int, book: Book) -> None:
        self.session, self._number = session, number
        self.requests = Requests(session, book)
        self._domain = session.target.domain.encode()
        share = OFFLINE_USERS // PAIRS
        self._ours = range(OFFLINE_FIRST + number * share, OFFLINE_FIRST + (number + 1) * share)
        self._turn = self.sent = self.open = 0
        session.link.ready = self.read

    def send(self) -> None:
        """Send the next batch and ask for its acknowledgement, unless the recipients are full."""
        if self.sent >= len(self._ours) * OFFLINE_MOST:
            return
        recipient = self._ours[self._turn % len(self._ours)]
        self._turn += 1
        head = b"<message to='user%d@%s' type='chat' id='lg%03d-" % (recipient, self._domain, self._number)
        tail = b"'><body>" + BODY + b"</body></message>"
        numbers = NUMBERS.between(self.sent, self.sent + EVERY)
        self.sent += EVERY
        self.session.sent += EVERY
        self.open += 1
        batch = head + (tail + head).join(numbers) + tail
        self.session.link.write(batch + self.requests.ask(time.perf_counter()))

    def read(self) -> None:
        """Each covered batch lets another one go."""
        book = self.requests.book
        before = len(book.acks)
        readControl(self.session, self.requests)
        batches = len(book.acks) - before
        self.open -= batches
        book.delivered += batches * EVERY
        if book.sending:
            for _ in range(batches):
                self.send()


def offline(target: Target, pid: int, seconds: float) -> Result:
    """Messages to users who are offline; the figure is acknowledged messages."""
    book = Book()
    with crowd(target) as people:
        _collect(people, silence=0.5)
        with people.opened(people.session(n, "bench", True) for n in range(PAIRS)) as live:
            senders = [_Depositor(session, number, book) for number, session in enumerate(live)]
            for sender in senders * BATCHES:
                sender.send()
            watch, count, _ = measured(people, book, Watch(pid), seconds, 2 * BATCHES * EVERY * PAIRS)
            acks = list(book.acks)
            book.sending = False
            _finish(people, [sender.requests for sender in senders], book)
        sent = sum(sender.sent for sender in senders)
        # Pages follow each other as they are taken; a busy machine may hold one up for a while.
        kept, copies = _collect(people, silence=2.0)
    if (kept, copies) != (sent, sent):
        book.problems.append(f"of {sent} messages kept {kept} arrived, {copies} with repetitions")
    result = Result("offline", target.tls, "msg", problems=book.problems)
    return _withAcks(watch.fill(result, count, acks), acks)


def _collect(people: Crowd, silence: float) -> tuple[int, int]:
    """Log the recipients in and take what was kept for them: (different messages, all messages)."""
    seen: list[bytes] = []

    def read(session: Session, fresh: bytes) -> None:
        data = session.rest + fresh
        end = data.rfind(_END) + len(_END) if _END in data else 0
        session.rest = data[end:]
        session.heard += 1
        seen.extend(_LONG.findall(data, 0, end))

    def take(session: Session) -> None:
        session.link.ready = lambda: read(session, session.link.read())
        session.rest = session.early + session.rest
        read(session, b"")

    sessions = (people.session(n) for n in range(OFFLINE_FIRST, OFFLINE_FIRST + OFFLINE_USERS))
    with people.opened(sessions, take) as live:
        settle(people.loop, live, silence)
    return len(set(seen)), len(seen)
