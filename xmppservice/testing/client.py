"""A client that lives in the test: stanzas in as text or elements, stanzas out as elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zope.interface import implementer

from xmppservice.hub.contracts.stream import IStream
from xmppservice.protocol.errors import StreamError
from xmppservice.wire.element import Element
from xmppservice.wire.limits import AUTHENTICATED
from xmppservice.wire.parser import ParseError, StreamParser
from xmppservice.wire.serializer import serialize

if TYPE_CHECKING:
    from xmppservice.hub.session import Session

_HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)


@implementer(IStream)
class MemoryStream:
    """The edge's side of a session, without an edge: what is sent is parsed and kept.

    `received` holds the elements; `error` the stream error, if it came to that; `closed` whether
    the stream was closed; `paused` how often reading is paused; `charged` the deliveries that broadcasts cost.
    With `holding` set, bytes count as not yet in the kernel until `flush`.
    """

    def __init__(self, id: str = "memory", peer: str = "127.0.0.1", secure: bool = True) -> None:
        self.id = id
        self.peer = peer
        self.secure = secure
        self.received: list[Element] = []
        self.error: StreamError | None = None
        self.closed = False
        self.paused = 0
        self.charged = 0
        self.holding = False
        self._callbacks: list[Callable[[], None]] = []
        self._parser = StreamParser(AUTHENTICATED)
        self._parser.feed(_HEADER)

    def send(self, data: bytes) -> None:
        """See `IStream.send`."""
        if self.closed:
            return
        for item, _ in self._parser.feed(data):
            if isinstance(item, ParseError):
                raise AssertionError(f"the server sent what no parser takes: {item.text}: {data!r}")
            assert isinstance(item, Element)
            self.received.append(item)

    def afterFlush(self, callback: Callable[[], None]) -> None:
        """See `IStream.afterFlush`."""
        if self.closed:
            return
        self._callbacks.append(callback)
        if not self.holding:
            self.flush()

    def flush(self) -> None:
        """The kernel takes what was sent."""
        while self._callbacks:
            self._callbacks.pop(0)()

    def fail(self, error: StreamError) -> None:
        """See `IStream.fail`."""
        if not self.closed:
            self.error = error
        self.close()

    def close(self) -> None:
        """See `IStream.close`."""
        self.closed = True
        self._callbacks.clear()

    def pause(self) -> None:
        """See `IStream.pause`."""
        self.paused += 1

    def resume(self) -> None:
        """See `IStream.resume`."""
        self.paused -= 1

    def admit(self) -> None:
        """See `IStream.admit`."""

    def charge(self, deliveries: int) -> None:
        """See `IStream.charge`."""
        self.charged += deliveries


class MemoryClient:
    """One bound session and its stream."""

    def __init__(self, session: Session, stream: MemoryStream) -> None:
        self.session = session
        self.stream = stream
        self.jid = session.jid
        self._parser = StreamParser(AUTHENTICATED)
        self._parser.feed(_HEADER)

    def send(self, stanza: str | Element) -> None:
        """Send one or more first-level elements, as XML text (in the client namespace) or as one element.

        A stream error that the session raises ends the stream, as the edge would have it.
        """
        data = stanza.encode() if isinstance(stanza, str) else serialize(stanza)
        for item, _ in self._parser.feed(data):
            if self.stream.closed:
                return
            if not isinstance(item, Element):
                raise AssertionError(f"the test sent what no parser takes: {item!r}")
            try:
                self.session.receive(item)
            except StreamError as error:
                self.stream.fail(error)
                self.session.streamLost()

    @property
    def received(self) -> list[Element]:
        """What has come and was not taken yet, oldest first."""
        return self.stream.received

    def next(self, name: str | None = None) -> Element:
        """Take the oldest stanza, or the oldest of this name; AssertionError if there is none."""
        for index, element in enumerate(self.received):
            if name is None or element.name == name:
                return self.received.pop(index)
        raise AssertionError(f"{self.jid.full} has received no {name or 'stanza'}; there is: {self.received!r}")

    def take(self) -> list[Element]:
        """Take all that has come."""
        taken = list(self.received)
        self.received.clear()
        return taken

    def query(self, stanza: str | Element) -> Element:
        """Send an IQ and take its answer, the one with its id."""
        self.send(stanza)
        for index in range(len(self.received) - 1, -1, -1):
            if self.received[index].name == "iq" and self.received[index].get("type") in ("result", "error"):
                return self.received.pop(index)
        raise AssertionError(f"{self.jid.full} got no answer to {stanza!r}")

    def available(self, priority: int = 0) -> None:
        """Send available presence."""
        self.send(f"<presence><priority>{priority}</priority></presence>")

    def lose(self) -> None:
        """The connection breaks."""
        self.stream.closed = True
        self.session.streamLost()

    def close(self) -> None:
        """The client closes its stream in order."""
        self.session.streamClosed()
        self.stream.close()
