"""Many sessions at once: opening, settling, closing, and filling their rosters over the protocol."""

import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from benchmarks.load.dialogue import ASKED, STANZA, Session, Target, clientContext
from benchmarks.load.link import LoadError, Loop

#: Logins, and subscription requests, under way at the same time.
CONCURRENT = 32
OUTSTANDING = 50
#: Users form rings of this many; everybody's contacts are the nearest neighbours in the ring.
RING = 100

_ITEM = re.compile(rb"<item\s[^>]*>")
_ITEM_JID = re.compile(rb"\sjid=['\"]([^'\"]+)['\"]")
_SUBSCRIPTION = re.compile(rb"\ssubscription=['\"](\w+)['\"]")
_PRESENCE = re.compile(rb"<presence\s[^>]*>")
_TYPE = re.compile(rb"\stype=['\"](subscribed|subscribe)['\"]")
_FROM = re.compile(rb"\sfrom=['\"]([^'\"]+)['\"]")


class Crowd:
    """The sessions of one workload on one loop."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.loop = Loop()
        self.context: ssl.SSLContext = clientContext()

    def session(self, number: int, resource: str = "bench", sm: bool = False) -> Session:
        """A session of user ``number``, not yet open."""
        return Session(self.loop, self.target, self.context, f"user{number}", resource, sm)

    def openAll(
        self, sessions: Iterable[Session], take: Callable[[Session], None] | None = None, limit: float = 300.0
    ) -> list[Session]:
        """Log all in, `CONCURRENT` at a time; then ``take`` has each, or it reads and drops what comes."""
        opened: list[Session] = []

        def one(session: Session) -> None:
            (take or quiet)(session)
            opened.append(session)

        self.each(sessions, lambda session, done: session.start(done), one, limit)
        return opened

    def closeAll(self, sessions: Iterable[Session], limit: float = 60.0) -> None:
        """Close all streams, `CONCURRENT` at a time."""
        self.each(sessions, lambda session, done: session.end(done), lambda session: None, limit)

    def each(
        self,
        sessions: Iterable[Session],
        begin: Callable[[Session, Callable[[Session], None]], None],
        ended: Callable[[Session], None],
        limit: float,
        concurrent: int = CONCURRENT,
    ) -> None:
        """Run ``begin`` for every session, a bounded number at a time; ``ended`` is told of each that is through."""
        waiting, running = iter(sessions), 0

        def finished(session: Session) -> None:
            nonlocal running
            running -= 1
            ended(session)
            more()

        def more() -> None:
            nonlocal running
            session = next(waiting, None)
            if session is not None:
                running += 1
                begin(session, finished)

        for _ in range(concurrent):
            more()
        self.loop.run(lambda: running == 0, limit)

    @contextmanager
    def opened(
        self, sessions: Iterable[Session], take: Callable[[Session], None] | None = None
    ) -> Iterator[list[Session]]:
        """Open sessions, let presence settle, and close them at the end."""
        live = self.openAll(sessions, take)
        settle(self.loop, live)
        yield live
        self.closeAll(live)

    def close(self) -> None:
        """Drop every connection."""
        self.loop.close()


@contextmanager
def crowd(target: Target) -> Iterator[Crowd]:
    """A crowd whose connections are gone at the end, come what may."""
    made = Crowd(target)
    try:
        yield made
    finally:
        made.close()


def quiet(session: Session) -> None:
    """Let a session read and drop everything, but count and acknowledge stanzas if it has stream management."""
    already, session.rest = session.rest, b""
    session.link.ready = lambda: absorb(session, session.link.read())
    if already:
        absorb(session, already)


def absorb(session: Session, data: bytes) -> None:
    """Drop what a session was sent; with stream management count it and answer requests."""
    data = session.rest + data
    end = data.rfind(b">") + 1
    session.rest = data[end:]
    session.heard += 1
    if session.sm:
        for asked in ASKED.finditer(data, 0, end):
            acknowledge(session, session.received + len(STANZA.findall(data, 0, asked.start())))
        session.received += len(STANZA.findall(data, 0, end))


def acknowledge(session: Session, handled: int) -> None:
    """Answer the server's <r/> (XEP-0198 section 4)."""
    session.link.write(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % handled)


def settle(loop: Loop, sessions: list[Session], silence: float = 0.3, limit: float = 30.0) -> None:
    """Wait until no session has heard anything for ``silence`` seconds."""
    end = time.perf_counter() + limit
    last = -1
    while (heard := sum(session.heard for session in sessions)) != last:
        last = heard
        loop.pause(silence)
        if time.perf_counter() > end:
            raise LoadError("the sessions do not settle")


def fillRosters(target: Target, first: int, contacts: int) -> int:
    """Make the users of one ring subscribe to their ``contacts`` nearest; returns how many subscriptions were new."""
    with crowd(target) as people:
        live = people.openAll(people.session(first + number) for number in range(RING))
        missing = _missing(target, live, first, contacts)
        filler = _Filler(missing)
        for session in live:
            filler.watch(session)
        filler.more()
        people.loop.run(lambda: filler.open == 0, 300.0)
        settle(people.loop, live)
        people.closeAll(live)
    return len(missing)


def _missing(target: Target, live: list[Session], first: int, contacts: int) -> list[tuple[Session, bytes]]:
    """(who, whom) for every subscription that the rosters do not show yet."""
    wanted = []
    for session in live:
        place = int(session.user.removeprefix("user")) - first
        have = _subscribed(session.roster)
        for step in range(1, contacts // 2 + 1):
            for other in ((place + step) % RING, (place - step) % RING):
                jid = f"user{first + other}@{target.domain}".encode()
                if jid not in have:
                    wanted.append((session, jid))
    return wanted


def _subscribed(roster: bytes) -> set[bytes]:
    """The bare JIDs whose presence the owner of this roster gets."""
    found = set()
    for item in _ITEM.findall(roster):
        jid, subscription = _ITEM_JID.search(item), _SUBSCRIPTION.search(item)
        if jid and subscription and subscription[1] in (b"to", b"both"):
            found.add(jid[1])
    return found


class _Filler:
    """Sends subscription requests, a bounded number at a time, and approves all that come."""

    def __init__(self, missing: list[tuple[Session, bytes]]) -> None:
        self.open = len(missing)
        self._queue = iter(missing)
        self._asked: set[tuple[bytes, bytes]] = set()

    def more(self) -> None:
        """Send requests up to the limit."""
        while len(self._asked) < OUTSTANDING:
            ask = next(self._queue, None)
            if ask is None:
                return
            session, jid = ask
            self._asked.add((session.jid.partition(b"/")[0], jid))
            session.link.write(b"<presence to='%s' type='subscribe'/>" % jid)

    def watch(self, session: Session) -> None:
        """Answer the requests that reach this session and note the approvals."""
        bare = session.jid.partition(b"/")[0]

        def read() -> None:
            data = session.rest + session.link.read()
            end = data.rfind(b">") + 1
            session.rest = data[end:]
            session.heard += 1
            for tag in _PRESENCE.findall(data, 0, end):
                kind, sender = _TYPE.search(tag), _FROM.search(tag)
                if kind and sender:
                    self._presence(session, bare, kind[1], sender[1].partition(b"/")[0])

        session.link.ready = read

    def _presence(self, session: Session, bare: bytes, kind: bytes, sender: bytes) -> None:
        if kind == b"subscribe":
            session.link.write(b"<presence to='%s' type='subscribed'/>" % sender)
        elif (bare, sender) in self._asked:
            self._asked.remove((bare, sender))
            self.open -= 1
            self.more()
