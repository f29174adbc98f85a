"""Plays: behaviour written down as who sends and who receives what.

    Alice/phone and Bob/desk are friends and online.

    alice/phone sends:
        <message to='bob@localhost' type='chat'><body>Hello</body></message>
    bob/desk receives:
        <message from='alice@localhost/phone' to='bob@localhost' type='chat'>...</message>
    nobody receives anything.

One sentence a line; the XML of "sends" and "receives" is indented below it. In what is to be
received ``*`` as a value stands for any value, attributes that are not named may be there, and
``...`` as content for any content. Lines that begin with ``#`` are remarks.
"""

from __future__ import annotations

import re

from xmppservice.testing.client import MemoryClient
from xmppservice.testing.server import MemoryServer
from xmppservice.wire.element import Element
from xmppservice.wire.limits import AUTHENTICATED
from xmppservice.wire.parser import parseDocument
from xmppservice.wire.serializer import serialize

_ANY = "..."
_SENTENCES = (
    (re.compile(r"(\S+) (?:connects|logs in)\.?"), "_connects"),
    (re.compile(r"(\S+) is online\.?"), "_online"),
    (re.compile(r"(\S+) and (\S+) are friends\.?"), "_friends"),
    (re.compile(r"(\S+) and (\S+) are friends and online\.?"), "_friendsOnline"),
    (re.compile(r"(\S+) sends:"), "_sends"),
    (re.compile(r"(\S+) receives:"), "_receives"),
    (re.compile(r"nobody receives anything\.?"), "_nothing"),
    (re.compile(r"(\S+) disconnects\.?"), "_disconnects"),
    (re.compile(r"the connection of (\S+) breaks\.?"), "_breaks"),
    (re.compile(r"(\d+) seconds pass\.?"), "_wait"),
)


class ScenarioError(AssertionError):
    """The play went otherwise than written; the text names the line."""


def play(text: str, server: MemoryServer) -> None:
    """Perform a play on a server; raises `ScenarioError` at the first line that does not hold."""
    _Stage(server).perform(text)


class _Stage:
    """The clients on stage, by their names in lower case."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.clients: dict[str, MemoryClient] = {}

    def perform(self, text: str) -> None:
        lines = text.splitlines()
        index = 0
        while index < len(lines):
            line, number = lines[index].strip(), index + 1
            index += 1
            if not line or line.startswith("#"):
                continue
            block = []
            while index < len(lines) and (lines[index].startswith((" ", "\t")) and line.endswith(":")):
                block.append(lines[index].strip())
                index += 1
            try:
                self._act(line, "".join(block))
            except AssertionError as error:
                raise ScenarioError(f"line {number}, {line!r}: {error}") from error

    def _act(self, line: str, block: str) -> None:
        for pattern, method in _SENTENCES:
            found = pattern.fullmatch(line) or pattern.fullmatch(line.lower())
            if found:
                arguments = [*(name.lower() for name in found.groups()), *([block] if block else [])]
                getattr(self, method)(*arguments)
                return
        raise AssertionError("no such sentence")

    def _connects(self, who: str) -> None:
        self.clients[who] = self.server.client(who)

    def _online(self, who: str) -> None:
        self.clients[who] = self.server.client(who, available=True)

    def _friends(self, one: str, other: str) -> None:
        self.server.befriend(one.partition("/")[0], other.partition("/")[0])

    def _friendsOnline(self, one: str, other: str) -> None:
        self._friends(one, other)
        self._online(one)
        self._online(other)
        for who in (one, other):
            self.clients[who].take()

    def _sends(self, who: str, xml: str) -> None:
        self.clients[who].send(xml)

    def _receives(self, who: str, xml: str) -> None:
        wanted = _parse(xml)
        received = self.clients[who].received
        if not received:
            raise AssertionError(f"{who} has received nothing")
        stanza = received.pop(0)
        if not _matches(wanted, stanza):
            raise AssertionError(f"{who} has received {serialize(stanza).decode()}")

    def _nothing(self) -> None:
        for who, client in self.clients.items():
            if client.received:
                raise AssertionError(f"{who} has received {serialize(client.received[0]).decode()}")

    def _disconnects(self, who: str) -> None:
        self.clients.pop(who).close()

    def _breaks(self, who: str) -> None:
        self.clients.pop(who).lose()

    def _wait(self, seconds: str) -> None:
        self.server.advance(float(seconds))


def _parse(xml: str) -> Element:
    document = parseDocument(f"<x xmlns='jabber:client'>{xml}</x>".encode(), AUTHENTICATED)
    return document.elements()[0]


def _matches(wanted: Element, found: Element) -> bool:
    """Whether `found` is what `wanted` describes."""
    pairs = [(wanted, found)]
    while pairs:
        one, other = pairs.pop()
        if (one.ns, one.name) != (other.ns, other.name):
            return False
        if any(value != "*" and other.get(key) != value for key, value in one.attrs.items()):
            return False
        if one.text.strip() == _ANY:
            continue
        if one.text not in ("*", other.text) or len(one.elements()) != len(other.elements()):
            return False
        pairs += zip(one.elements(), other.elements(), strict=True)
    return True
