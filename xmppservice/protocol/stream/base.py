"""What the machines of all kinds of streams have in common: states, our header, and the end (RFC 6120 4)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, ClassVar

from xmppservice.protocol.errors import SASLFailure, StreamError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.events import Ask
from xmppservice.protocol.stream.framing import TCP, Framing
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import ParseError, StreamEnd, StreamHeader


class State(Enum):
    """Where the negotiation stands."""

    OPENING = auto()
    OFFERED = auto()
    SECURING = auto()
    CHALLENGED = auto()
    DECIDING = auto()
    REOPENING = auto()
    BINDING = auto()
    BOUND = auto()
    CLOSED = auto()


class StreamBase:
    """A stream as the receiving entity sees it; `id` is that of our last header, `jid` who the peer is, once known."""

    __slots__ = ("_framing", "_headerSent", "id", "jid", "secure", "state")

    def __init__(self, framing: Framing = TCP) -> None:
        self.state = State.OPENING
        self.jid: JID | None = None
        self.id = ""
        self.secure = False
        self._framing = framing
        self._headerSent = False

    def receive(self, item: object) -> list[Ask]:
        """Take one item of the parser; returns what is to be done, in order."""
        raise NotImplementedError

    def _header(self, header: StreamHeader | None) -> bytes:
        """Our response header; `header` is the peer's, None if there was none that could be read."""
        raise NotImplementedError

    def _newId(self) -> str:
        """The id of a header that goes out now, a new one each time (RFC 6120 4.7.3)."""
        self._headerSent = True
        self.id = secrets.token_urlsafe(16)
        return self.id

    def _parseError(self, error: ParseError) -> list[Ask]:
        return self.fail(parseFailure(error))

    def _end(self, item: object) -> list[Ask]:
        """The peer closed its stream; we close ours (RFC 6120 4.4)."""
        return self.close(expected=True)

    def fail(self, error: StreamError, header: StreamHeader | None = None) -> list[Ask]:
        """End the stream with an error, with our header first if it is not out yet (4.9.1.2)."""
        if self.state is State.CLOSED:
            return []
        data = b"" if self._headerSent else self._header(header)
        self.state = State.CLOSED
        return [events.Send(data + self._framing.error(error) + self._framing.footer()), events.Close(True, error)]

    def close(self, expected: bool = False) -> list[Ask]:
        """End the stream in peace; `expected`: nothing more is to come from the peer."""
        if self.state is State.CLOSED:
            return []
        data = b"" if self._headerSent else self._header(None)
        self.state = State.CLOSED
        return [events.Send(data + self._framing.footer()), events.Close(expected)]


class TableMachine(StreamBase):
    """A machine that is a table: state × kind of input → the method that takes it.

    `kinds` is an enumeration of the inputs, with HEADER, END, ERROR and UNKNOWN among them; `inputs` says which of
    them an element is, by namespace and name. What `table` has no entry for is in `faults`. While the machine is in one
    of the states of `deaf`, it waits for an answer, or its work is done, and no input may reach it.
    """

    __slots__ = ()

    kinds: ClassVar[Any]
    inputs: ClassVar[Mapping[tuple[str, str], Any]]
    table: ClassVar[Mapping[State, Mapping[Any, str]]]
    faults: ClassVar[Mapping[Any, str]]
    deaf: ClassVar[frozenset[State]] = frozenset({State.DECIDING, State.BOUND})

    @classmethod
    def classify(cls, item: object) -> Any:
        """What kind of input an item of the parser is."""
        if isinstance(item, Element):
            return cls.inputs.get((item.ns, item.name), cls.kinds.UNKNOWN)
        if isinstance(item, StreamHeader):
            return cls.kinds.HEADER
        return cls.kinds.END if isinstance(item, StreamEnd) else cls.kinds.ERROR

    def receive(self, item: object) -> list[Ask]:
        """See `StreamBase.receive`."""
        if self.state is State.CLOSED:
            return []
        if self.state in self.deaf:
            raise RuntimeError(f"no input may reach the machine while it is {self.state.name}")
        return self._take(self.classify(item), item)

    def _take(self, kind: Any, item: object) -> list[Ask]:
        taker: Callable[[object], list[Ask]] = getattr(self, self.table[self.state].get(kind) or self.faults[kind])
        return taker(item)

    def _secondHeader(self, header: StreamHeader) -> list[Ask]:
        return self.fail(secondHeader())


def parseFailure(error: ParseError) -> StreamError:
    """The stream error for what the parser refused (RFC 6120 4.9.3, 11)."""
    app = Element(ns.ERRORS, error.app) if error.app else None
    return StreamError(error.condition, error.text or None, app)


def checkHeader(header: StreamHeader, content: str) -> None:
    """Raise `StreamError` for the wrong namespaces or version (RFC 6120 4.7.5, 4.8); `content` is what it carries."""
    if header.ns != ns.STREAM:
        raise StreamError("invalid-namespace", "unknown stream namespace")
    if header.name != "stream":
        raise StreamError("bad-format", "a stream begins with <stream>")
    # RFC 6120 4.8.5: the content namespace need not be the default one.
    if header.contentNs != content and (
        header.contentNs not in (None, "", ns.STREAM) or content not in header.prefixes.values()
    ):
        raise StreamError("invalid-namespace", "unknown content namespace")
    major, dot, minor = header.attrs.get("version", "").partition(".")
    if not (dot and _isNumber(major) and _isNumber(minor)) or not major.lstrip("0"):
        raise StreamError("unsupported-version")


def _isNumber(text: str) -> bool:
    return 0 < len(text) <= 9 and text.isascii() and text.isdigit()


def secondHeader() -> StreamError:
    """What is wrong with a header in the midst of a stream."""
    return StreamError("invalid-xml", "a stream has one header")


def characters(element: Element) -> str:
    """The base64 of a SASL element, which has no child elements (RFC 6120 appendix A.4)."""
    if element.elements():
        raise SASLFailure("malformed-request")
    return element.text
