"""Messages to and from an external component: the generator is the component (XEP-0114), and its users' clients."""

import hashlib
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.load.chat import PAIRS, WINDOW, Book, Pair, drain, measured
from benchmarks.load.crowd import Crowd, crowd
from benchmarks.load.dialogue import CLOSED, Dialogue, Script, Service, Session, Target
from benchmarks.load.link import Link, LoadError, Loop
from benchmarks.load.result import Result, Watch

_HEADER = re.compile(rb"<stream:stream\s[^>]*>")
_ID = re.compile(rb"\sid=['\"]([^'\"]+)['\"]")
_HANDSHAKE = re.compile(rb"<handshake[^>]*/>|<handshake[^>]*></handshake>")
_END = b"</message>"
#: The pair, and the number within it: all pairs share the component's stream.
_NUMBER = re.compile(rb"\sid=['\"]lg(\d\d)(\d{8})['\"]")

assert PAIRS <= 100


class Component:
    """A connected component."""

    def __init__(self, loop: Loop, service: Service) -> None:
        self.service = service
        self.link = Link(loop, "127.0.0.1", service.port)
        self._loop = loop
        self._rest = b""

    def open(self) -> None:
        """Prove that we know the secret (XEP-0114 section 3)."""
        self._play(self._handshake())

    def close(self) -> None:
        """Close the stream; the server frees the address."""
        self._play(self._farewell())
        self.link.close()

    def _play(self, script: Script) -> None:
        ended: list[bytes] = []
        Dialogue(self.link, script, ended.append)
        self._loop.run(lambda: bool(ended), 30.0)

    def _handshake(self) -> Script:
        head = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{}'>"
        self.link.write(head.format(self.service.domain).encode())
        found = _ID.search((yield _HEADER))
        if found is None:
            raise LoadError("the server's header to a component has no id")
        proof = hashlib.sha1(found[1] + self.service.secret.encode()).hexdigest()
        self.link.write(f"<handshake>{proof}</handshake>".encode())
        yield _HANDSHAKE

    def _farewell(self) -> Script:
        self.link.write(b"</stream:stream>")
        yield CLOSED

    def share(self, pairs: list["Toward"]) -> None:
        """Give each pair the numbers of its own messages."""

        def ready() -> None:
            data = self._rest + self.link.read()
            end = data.rfind(_END)
            if end < 0:
                self._rest = data
                return
            self._rest = data[end + len(_END) :]
            found: defaultdict[bytes, list[bytes]] = defaultdict(list)
            for place, number in _NUMBER.findall(data, 0, end):
                found[place].append(number)
            for place, numbers in found.items():
                pairs[int(place)].deliver(numbers)

        self.link.ready = ready


@dataclass
class Address:
    """An address of the component, a bare one; all share its stream."""

    user: str
    jid: bytes
    link: Link


class Toward(Pair):
    """A client writes to an address of the component."""

    __slots__ = ()

    def head(self) -> bytes:
        """See `Pair.head`; the number says the pair too."""
        place = self.receiver.user.removeprefix("part").encode()
        return b"<message to='" + self.receiver.jid + b"' type='chat' id='lg" + place


class From(Pair):
    """An address of the component writes to a client."""

    __slots__ = ()

    def head(self) -> bytes:
        """See `Pair.head`; a component says who it writes for."""
        return b"<message from='" + self.sender.jid + b"' to='" + self.receiver.jid + b"' type='chat' id='lg"


@contextmanager
def _component(people: Crowd) -> Iterator[Component]:
    if people.target.service is None:
        raise LoadError("component workloads need a server that the benchmark starts itself")
    made = Component(people.loop, people.target.service)
    made.open()
    yield made
    made.close()


def _run(
    name: str, target: Target, pid: int, seconds: float, pairUp: Callable[[Component, list[Session], Book], list[Pair]]
) -> Result:
    """50 clients, one component, 10 messages of 100 bytes in flight for each client."""
    book = Book()
    with crowd(target) as people, people.opened(people.session(n) for n in range(PAIRS)) as live:
        with _component(people) as component:
            pairs = pairUp(component, live, book)
            for pair in pairs:
                pair.send(WINDOW, time.perf_counter())
            watch, count, samples = measured(people, book, Watch(pid), seconds)
            drain(people, pairs, book)
    return watch.fill(Result(name, target.tls, "msg", problems=book.problems), count, samples)


def _addresses(component: Component) -> list[Address]:
    names = [f"part{number:02}" for number in range(PAIRS)]
    return [Address(name, f"{name}@{component.service.domain}".encode(), component.link) for name in names]


def _toward(component: Component, live: list[Session], book: Book) -> list[Pair]:
    made = [Toward(session, address, book) for session, address in zip(live, _addresses(component), strict=True)]
    component.share(made)
    return list(made)


def _from(component: Component, live: list[Session], book: Book) -> list[Pair]:
    return [From(address, session, book) for session, address in zip(live, _addresses(component), strict=True)]


def component(target: Target, pid: int, seconds: float) -> Result:
    """Clients write to the component."""
    return _run("component", target, pid, seconds, _toward)


def componentFrom(target: Target, pid: int, seconds: float) -> Result:
    """The component writes to clients."""
    return _run("component-from", target, pid, seconds, _from)
