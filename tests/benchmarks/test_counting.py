"""What the generator sends, it must find again, and it must notice what is lost, doubled or out of order."""

import hashlib
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.load.chat import Book, Pair
from benchmarks.load.component import Address, Component, From, Toward
from benchmarks.load.crowd import absorb
from benchmarks.load.dialogue import Service, Session, Target, clientContext
from benchmarks.load.durable import AckedPair
from benchmarks.load.link import Link, LoadError, Loop

Twist = Callable[[bytes], bytes]


class Wire:
    """A sender and a receiver connected through this test, which may change what passes."""

    def __init__(self) -> None:
        self.loop = Loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        target = Target("127.0.0.1", self._listener.getsockname()[1], 0, "localhost", "password")
        self.sender, self.toSender = self._session(target, "user0")
        self.receiver, self.toReceiver = self._session(target, "user1")

    def _session(self, target: Target, user: str) -> tuple[Session, socket.socket]:
        session = Session(self.loop, target, clientContext(), user)
        session.link = Link(self.loop, target.host, target.port)
        return session, self.accept()

    def accept(self) -> socket.socket:
        """The server's end of a new connection."""
        return self._listener.accept()[0]

    def carry(self, twist: Twist = bytes, pieces: int = 1) -> bytes:
        """Hand what the sender sent to the receiver, in pieces, and let it read; returns what passed."""
        data = twist(take(self.toSender))
        size = max(1, -(-len(data) // pieces))
        for start in range(0, len(data), size):
            self.toReceiver.sendall(data[start : start + size])
            self.loop.pause(0.01)
        return data

    def close(self) -> None:
        """Close everything."""
        self.loop.close()
        for sock in (self.toSender, self.toReceiver, self._listener):
            sock.close()


def take(sock: socket.socket) -> bytes:
    """What has arrived at a socket."""
    data = b""
    while select.select([sock], [], [], 0.02)[0]:
        data += sock.recv(65536)
    return data


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A connected sender and receiver."""
    made = Wire()
    yield made
    made.close()


def closedBook() -> Book:
    """A book whose pairs do not top up."""
    book = Book()
    book.sending = False
    return book


@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def testCountsAllHoweverCut(wire: Wire, pieces: int) -> None:
    """Stanza borders and read borders have nothing to do with each other."""
    book = closedBook()
    pair = Pair(wire.sender, wire.receiver, book)
    pair.send(25, time.perf_counter())
    wire.carry(pieces=pieces)
    assert (pair.got, book.delivered, book.problems, len(book.samples)) == (25, 25, [], 25)


def testTopsTheWindowUp(wire: Wire) -> None:
    """What arrives lets as many messages go."""
    book = Book()
    pair = Pair(wire.sender, wire.receiver, book)
    pair.send(10, time.perf_counter())
    for _ in range(3):
        wire.carry()
    assert (pair.got, pair.sent, book.problems) == (30, 40, [])


@pytest.mark.parametrize(
    "twist",
    [
        lambda data: data.replace(b"lg00000003", b"lg00000004"),
        lambda data: data + data[data.rindex(b"<message") :],
        lambda data: data[: data.index(b"</message>") + 10] + data[data.index(b"<message", 200 * 2) :],
        lambda data: data.replace(b"lg00000003", b"lgX").replace(b"lg00000002", b"lg00000003"),
    ],
    ids=["repeated", "doubled", "lost", "unordered"],
)
def testNotices(wire: Wire, twist: Twist) -> None:
    """A message lost, doubled or out of order is a problem, not a delivery."""
    book = closedBook()
    pair = Pair(wire.sender, wire.receiver, book)
    pair.send(10, time.perf_counter())
    wire.carry(twist)
    assert book.problems


def testErrorsToTheSenderAreProblems(wire: Wire) -> None:
    """A bounce reaches the sender and spoils the run."""
    book = closedBook()
    Pair(wire.sender, wire.receiver, book)
    wire.toSender.sendall(b"<message type='error'><error/></message>")
    wire.loop.pause(0.02)
    assert book.problems


def testAcknowledgementsAreAskedAndTimed(wire: Wire) -> None:
    """One request after every tenth message; only an answer that covers it ends it."""
    book = closedBook()
    wire.sender.sm = wire.receiver.sm = True
    wire.sender.sent = 2
    pair = AckedPair(wire.sender, wire.receiver, book)
    pair.send(25, time.perf_counter())
    passed = wire.carry(lambda data: data.replace(b"<r xmlns='urn:xmpp:sm:3'/>", b""))
    assert passed.count(b"<message ") == 25 and pair.got == 25
    wire.toSender.sendall(b"<a xmlns='urn:xmpp:sm:3' h='11'/>")
    wire.loop.pause(0.02)
    assert len(book.acks) == 0
    wire.toSender.sendall(b"<a h='12' xmlns='urn:xmpp:sm:3'/><a h='22' xmlns='urn:xmpp:sm:3'/>")
    wire.loop.pause(0.02)
    assert (len(book.acks), pair.requests.covered, book.problems) == (2, 22, [])


def testAnAcknowledgementOfTooMuchIsAProblem(wire: Wire) -> None:
    """The server cannot have handled more than was sent."""
    book = closedBook()
    AckedPair(wire.sender, wire.receiver, book)
    wire.toSender.sendall(b"<a xmlns='urn:xmpp:sm:3' h='1'/>")
    wire.loop.pause(0.02)
    assert book.problems


def testReceiverAnswersWithWhatCameBefore(wire: Wire) -> None:
    """The answer to <r/> counts the stanzas in front of it, in whatever pieces they come."""
    wire.receiver.sm = True
    wire.receiver.received = 5
    pair = AckedPair(wire.sender, wire.receiver, closedBook())
    pair.send(4, time.perf_counter())
    request = b"<r xmlns='urn:xmpp:sm:3'/>"
    end = b"</message>"
    wire.carry(lambda data: data.replace(end, end + request, 2), pieces=5)
    assert take(wire.toReceiver) == b"<a xmlns='urn:xmpp:sm:3' h='6'/><a xmlns='urn:xmpp:sm:3' h='7'/>"
    assert pair.got == 4 and wire.receiver.received == 9


@pytest.fixture
def component(wire: Wire) -> Component:
    """A component instead of the receiver; its stream is open."""
    made = Component(wire.loop, Service("parts.localhost", wire.receiver.target.port, "pencil"))
    wire.toReceiver.close()
    wire.toReceiver = wire.accept()
    return made


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(("old", "new", "good"), [(b"", b"", True), (b"lg0100000002", b"lg0100000003", False)])
def testPairsShareTheComponentsStream(
    wire: Wire, component: Component, pieces: int, old: bytes, new: bytes, good: bool
) -> None:
    """Each pair finds its own numbers, whatever lies between them; one that is missing is a problem."""
    book = closedBook()
    ends = [Address(f"part{n:02}", f"part{n:02}@parts.localhost".encode(), component.link) for n in range(2)]
    pairs = [Toward(wire.sender, end, book) for end in ends]
    component.share(pairs)
    for _ in range(3):
        for pair in pairs:
            pair.send(3, time.perf_counter())
    passed = wire.carry(lambda data: data.replace(old, new) if old else data, pieces)
    assert passed.count(b"to='part01@parts.localhost'") == 9
    assert ([pair.got for pair in pairs], bool(book.problems)) == ([9, 9], not good)


def testAComponentSaysWhoItWritesFor(wire: Wire) -> None:
    """Its messages carry both addresses (XEP-0114 section 3)."""
    pair = From(Address("part00", b"part00@parts.localhost", wire.sender.link), wire.receiver, closedBook())
    pair.send(2, time.perf_counter())
    assert wire.carry().count(b"<message from='part00@parts.localhost' to='user1@localhost/bench' ") == 2
    assert pair.got == 2


def testTheHandshakeProvesTheSecret(wire: Wire, component: Component) -> None:
    """The digest of the stream's id and the secret; the header names the domain (XEP-0114 section 3)."""
    script = component._handshake()
    next(script)
    assert b" to='parts.localhost'>" in take(wire.toReceiver)
    script.send(b"<stream:stream xmlns='jabber:component:accept' id='3BF96D32'>")
    proof = hashlib.sha1(b"3BF96D32pencil").hexdigest().encode()
    assert take(wire.toReceiver) == b"<handshake>" + proof + b"</handshake>"


def testQuietSessionsCountAndAnswer(wire: Wire) -> None:
    """A session that only listens still keeps XEP-0198's count."""
    wire.receiver.sm = True
    for piece in (b"<presence from='a@b/c'/><pres", b"ence from='d@e/f'><c/></presence><r xmlns='urn:xmpp:sm:3'/>"):
        absorb(wire.receiver, piece)
    assert wire.receiver.received == 2
    assert take(wire.toReceiver) == b"<a xmlns='urn:xmpp:sm:3' h='2'/>"


def testKeptMessagesBeforeOwnPresenceAreNotForgotten(wire: Wire) -> None:
    """Some servers send what they kept for a user before they echo the user's presence; the session keeps it."""
    session = wire.receiver
    script = session._establish()
    next(script)
    script.send(b"<iq type='result' id='bind'><bind><jid>user1@localhost/bench</jid></bind></iq>")
    script.send(b"<iq type='result' id='roster'><query/></iq>")
    kept = b"<message from='a@b'><body>lg</body></message>"
    script.send(kept + b"<presence from='user7@localhost/bench'>")
    with pytest.raises(StopIteration):
        script.send(b"</presence><presence from='user1@localhost/bench'/>")
    assert session.early.startswith(kept)


def testRunsAreBounded(wire: Wire) -> None:
    """A server that says nothing ends the run."""
    with pytest.raises(LoadError, match="silence"):
        wire.loop.run(lambda: False, 5.0, 0.1)
    with pytest.raises(LoadError, match="no end"):
        wire.loop.run(lambda: False, 0.1)


def testTimerKeepsTheRate(wire: Wire) -> None:
    """The timed loop calls about once an interval."""
    calls = 0

    def tick() -> bool:
        nonlocal calls
        calls += 1
        return calls < 50

    start = time.perf_counter()
    wire.loop.runTimed(tick, 0.002, 5.0)
    assert time.perf_counter() - start >= 0.09
