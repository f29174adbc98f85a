"""A small fast XMPP client on a raw socket, which remembers what was promised to it.

A `Dialogue` logs in with blocking reads. A `Client` then owns the socket and is served by the `Loop`: it counts as
XEP-0198 says, on both sides, and writes sent, acknowledged and arrived messages into a `Book`. Nothing of the server
is used but the parser.
"""

from __future__ import annotations

import base64
import secrets
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence

from tests.chaos.book import Book
from tests.protocol.sasl.scramclient import ScramClient
from xmppservice.wire import ns
from xmppservice.wire.items import Item, ParseError, StreamEnd, StreamHeader
from xmppservice.wire.parser import Element, Limits, StreamParser

DOMAIN = "localhost"
PASSWORD = "secret"
PATIENCE = 30.0

_HEADER = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='%s'>"
_PRESENCE = b"<presence/>"
_REQUEST = b"<r xmlns='urn:xmpp:sm:3'/>"
#: What the server escapes may be larger than what it took.
_LIMITS = Limits(stanzaBytes=8 << 20, token=8 << 20)
_BODY = "Wherefore art thou, and so on, as ordinary people write it."


class StreamOver(Exception):
    """The server ended the stream or the connection in the midst of a dialogue."""


class Dialogue:
    """A connection on which one waits for each answer."""

    def __init__(self, port: int, domain: str = DOMAIN) -> None:
        self._header = (_HEADER % domain).encode()
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parser = StreamParser(_LIMITS)
        self.items: deque[Item] = deque()

    def say(self, data: bytes) -> None:
        """Send."""
        self.sock.sendall(data)

    def hear(self) -> Item:
        """The next item, whenever it comes."""
        while not self.items:
            data = self.sock.recv(65536)
            if not data:
                raise StreamOver("the connection was closed")
            self.items.extend(item for item, _ in self.parser.feed(data))
        return self.items.popleft()

    def element(self, name: str) -> Element:
        """The next item, which must be an element of this name."""
        item = self.hear()
        if not isinstance(item, Element) or item.name != name:
            raise StreamOver(f"{item!r} instead of <{name}/>")
        return item

    def open(self) -> Element:
        """Open a stream; returns the features."""
        self.parser = StreamParser(_LIMITS)
        self.say(self._header)
        header = self.hear()
        assert isinstance(header, StreamHeader), header
        return self.element("features")

    def login(self, user: str) -> None:
        """SCRAM-SHA-1, and the second stream."""
        self.open()
        scram = ScramClient(user, PASSWORD, nonce=secrets.token_hex(12))
        first = base64.b64encode(scram.first()).decode()
        self.say(f"<auth xmlns='{ns.SASL}' mechanism='SCRAM-SHA-1'>{first}</auth>".encode())
        final = scram.final(base64.b64decode(self.element("challenge").text))
        self.say(f"<response xmlns='{ns.SASL}'>{base64.b64encode(final).decode()}</response>".encode())
        assert scram.check(base64.b64decode(self.element("success").text))
        self.open()

    def bind(self, resource: str) -> None:
        """RFC 6120 section 7."""
        resource = f"<resource>{resource}</resource>"
        self.say(f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'>{resource}</bind></iq>".encode())
        answer = self.element("iq")
        assert answer.get("type") == "result", answer

    def enable(self) -> str:
        """XEP-0198 section 3; returns the token for resumption."""
        self.say(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        return self.element("enabled").get("id") or ""

    def resume(self, token: str, heard: int) -> Element:
        """XEP-0198 section 5; returns ``<resumed/>`` or ``<failed/>``."""
        self.say(f"<resume xmlns='urn:xmpp:sm:3' previd='{token}' h='{heard}'/>".encode())
        answer = self.hear()
        assert isinstance(answer, Element) and answer.name in ("resumed", "failed"), answer
        return answer


def _address(user: str) -> str:
    return user if "@" in user else f"{user}@{DOMAIN}"


class Client:
    """One user's session, over any number of connections. A user without a domain is one of `DOMAIN`.

    `delay` is how long an ``<r/>`` of the server waits for its answer: 0, some seconds, or None for ever.
    Without `managed` the session has no XEP-0198.
    """

    def __init__(
        self, user: str, book: Book, resource: str = "r", managed: bool = True, delay: float | None = 0.0
    ) -> None:
        self.user, self.book, self.resource = user, book, resource
        self._local, _, self.domain = _address(user).partition("@")
        self.managed, self.delay = managed, delay
        self.sock: socket.socket | None = None
        #: Whether it reads nothing any more.
        self.deaf = False
        self.token = ""
        self._reset()

    def _reset(self) -> None:
        #: The stanzas sent since ``<enabled/>``: the message's id (None if it is none), and the bytes.
        self.counted: list[tuple[str | None, bytes]] = []
        self.acked = 0
        self.heard = 0
        self.ended = ""
        self.lastWord = ""
        self.answerAt: float | None = None
        self._out = bytearray()
        self.parser = StreamParser(_LIMITS)

    # -- coming and going ---------------------------------------------------------------------------

    def connect(self, port: int) -> None:
        """Log in, bind, be available."""
        self._reset()
        dialogue = Dialogue(port, self.domain)
        dialogue.login(self._local)
        self._begin(dialogue)

    def _begin(self, dialogue: Dialogue) -> None:
        dialogue.bind(self.resource)
        self.token = dialogue.enable() if self.managed else ""
        self._take(dialogue)
        self.write(_PRESENCE)
        self.counted.append((None, _PRESENCE))

    def _take(self, dialogue: Dialogue) -> None:
        self.sock, self.parser = dialogue.sock, dialogue.parser
        self.sock.setblocking(False)
        self.ended = self.lastWord = ""
        self.deaf = False
        for item in dialogue.items:
            self._item(item)

    def comeBack(self, port: int) -> str:
        """Log in and resume; where that fails, bind anew. Returns what the server said to ``<resume/>``."""
        dialogue = Dialogue(port, self.domain)
        dialogue.login(self._local)
        answer = dialogue.resume(self.token, self.heard)
        if answer.name == "failed":
            self._reset()
            self._begin(dialogue)
            return answer.elements()[0].name
        self._acknowledge(int(answer.get("h") or ""))
        self._out.clear()
        self.answerAt = None
        self._take(dialogue)
        again = [data for _, data in self.counted[self.acked :]]
        self.write(b"".join(again) + _REQUEST)
        return answer.name

    def cut(self, reset: bool = False, part: bytes = b"") -> None:
        """Break the connection, perhaps in the midst of a stanza, perhaps with a TCP reset."""
        assert self.sock is not None
        if part and not self._out:
            self._push(part)
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    def drop(self) -> None:
        """Forget the connection."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def quit(self) -> None:
        """Acknowledge everything and close in order."""
        if self.sock is None:
            return
        last = b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % self.heard if self.managed else b""
        self.sock.setblocking(True)
        try:
            self.sock.sendall(bytes(self._out) + last + b"</stream:stream>")
            while self.sock.recv(65536):
                pass
        except OSError:
            pass
        self.drop()

    # -- sending ------------------------------------------------------------------------------------

    def message(self, recipient: str, resource: str = "", more: str = "") -> bytes:
        """The bytes of a new message to an account, or to one of its sessions; it is counted as sent.

        `more` stands behind the body.
        """
        id = self.book.send(self.user, recipient)
        to = _address(recipient) + (f"/{resource}" if resource else "")
        data = f"<message to='{to}' type='chat' id='{id}'><body>{_BODY}</body>{more}</message>".encode()
        self.counted.append((id, data))
        return data

    def write(self, data: bytes) -> None:
        """Send now what the kernel takes, the rest later."""
        if self.sock is None:
            return
        if self._out:
            self._out += data
        else:
            self._out += self._push(data)

    def _push(self, data: bytes | bytearray) -> bytes | bytearray:
        assert self.sock is not None
        try:
            return data[self.sock.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""

    def flush(self) -> None:
        """The kernel may have room again."""
        if self._out and self.sock is not None:
            self._out = bytearray(self._push(self._out))

    def gone(self) -> None:
        """The server is dead: nothing more can be sent, but what has arrived can be read."""
        self._out.clear()
        self.answerAt = None

    @property
    def waiting(self) -> bool:
        """Whether bytes wait for the kernel."""
        return bool(self._out)

    @property
    def open(self) -> int:
        """Stanzas that no acknowledgement covers."""
        return len(self.counted) - self.acked

    def ask(self) -> None:
        """``<r/>``."""
        self.write(_REQUEST)

    # -- receiving ----------------------------------------------------------------------------------

    def read(self) -> bool:
        """Take what has arrived; False if the connection is at its end."""
        if self.sock is None:
            return False
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        for item, _ in self.parser.feed(data):
            self._item(item)
        if not data or self.ended:
            self.drop()
        return self.sock is not None

    def _item(self, item: Item) -> None:
        if isinstance(item, Element):
            self._element(item)
        elif isinstance(item, StreamEnd):
            self.ended = self.ended or "closed"
        elif isinstance(item, ParseError):
            raise AssertionError(f"{self.user}: the server sent something that is no XML: {item!r}")

    def _element(self, item: Element) -> None:
        if item.ns == ns.CLIENT:
            self.heard += 1
            self.lastWord = item.name
            if item.name == "message":
                self._message(item)
        elif item.ns == ns.SM:
            self.lastWord = item.name
            if item.name == "a":
                self._acknowledge(int(item.get("h") or ""))
            elif item.name == "r" and self.delay is not None and self.answerAt is None:
                self.answerAt = time.monotonic() + self.delay
        elif item.ns == ns.STREAM:
            self.ended = item.elements()[0].name
            self.reason = "".join(each.text for each in item.elements())

    def _message(self, item: Element) -> None:
        id = item.get("id") or ""
        if item.get("type") == "error":
            self.book.bounced.add(id)
            return
        stamp = item.find(ns.SID, "stanza-id")
        self.book.arrive(self.user, id, "" if stamp is None else stamp.get("id") or "")

    def _acknowledge(self, h: int) -> None:
        assert self.acked <= h <= len(self.counted), f"{self.user}: h={h} of {len(self.counted)}, was {self.acked}"
        self.book.acknowledge(id for id, _ in self.counted[self.acked : h] if id is not None)
        self.acked = h

    def tick(self, now: float) -> None:
        """Answer the server's ``<r/>`` when its time has come."""
        if self.answerAt is not None and now >= self.answerAt:
            self.answerAt = None
            self.write(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % self.heard)


class Sender(Client):
    """Sends to its recipients in turn, as fast as acknowledgements come: `window` messages are open at most."""

    EVERY = 10

    def __init__(self, user: str, book: Book, recipients: list[str], window: int = 200) -> None:
        super().__init__(user, book)
        self.recipients, self.window = recipients, window
        self.active = True
        self._turn = 0

    def gone(self) -> None:
        """As for every client; and it has nothing more to send."""
        super().gone()
        self.active = False

    def tick(self, now: float) -> None:
        """Fill the window."""
        super().tick(now)
        while self.active and self.sock is not None and not self.waiting and self.open <= self.window - self.EVERY:
            batch = []
            for _ in range(self.EVERY):
                batch.append(self.message(self.recipients[self._turn % len(self.recipients)]))
                self._turn += 1
            self.write(b"".join(batch) + _REQUEST)


class Loop:
    """Serves clients until something has come true."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = clients

    def run(self, done: Callable[[], bool], limit: float, must: bool = True) -> None:
        """Serve until ``done()``; with `must` it is a failure if that takes longer than `limit` seconds."""
        deadline = time.monotonic() + limit
        while not done():
            now = time.monotonic()
            if now >= deadline:
                assert not must, f"not within {limit:g} s"
                return
            self._turn()
            for client in self.clients:
                client.tick(now)

    def pause(self, seconds: float) -> None:
        """Serve for so long."""
        self.run(lambda: False, seconds, must=False)

    def drain(self, limit: float = 5.0) -> None:
        """Take what is left on the connections of a server that is gone."""
        for client in self.clients:
            client.gone()
        self.run(lambda: all(client.sock is None for client in self.clients), limit)

    def _turn(self) -> None:
        poll = select.poll()
        byNumber: dict[int, Client] = {}
        for client in self.clients:
            if client.sock is not None and not client.deaf:
                number = client.sock.fileno()
                byNumber[number] = client
                poll.register(number, select.POLLIN | (select.POLLOUT if client.waiting else 0))
        for number, mask in poll.poll(5):
            client = byNumber[number]
            if mask & select.POLLOUT:
                client.flush()
            if mask & ~select.POLLOUT:
                client.read()
