"""A client that says what it is told to, byte by byte, and reads with the parser that the server uses itself."""

from __future__ import annotations

import base64
import itertools
import os
import secrets
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.protocol.sasl.scramclient import ScramClient
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import Item, Limits, StreamEnd, StreamHeader, StreamParser

DOMAIN = "localhost"
#: Whether there is time for the long forms of some tests.
LONG = bool(os.environ.get("XMPPSERVICE_ATTACK_LONG"))
PATIENCE = 30.0
DIGESTS = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
STARTTLS = f"<starttls xmlns='{ns.TLS}'/>"
_ROOMY = Limits(1 << 24, 1 << 20, 4096, 4096, 1 << 22)
_numbers = itertools.count(1)


def ownAddress() -> str:
    """A loopback address that nobody has used: limits of addresses do not carry over from test to test."""
    number = next(_numbers)
    return f"127.{number >> 16 & 127 | 64}.{number >> 8 & 255}.{number & 255}"


def header(to: str | None = DOMAIN, version: str | None = "1.0", **more: str) -> str:
    """A stream header; attributes in `more` are added, or replace the usual ones."""
    attributes = {"xmlns": ns.CLIENT, "xmlns:stream": ns.STREAM, "to": to, "version": version, **more}
    text = "".join(f" {key}='{value}'" for key, value in attributes.items() if value is not None)
    return f"<stream:stream{text}>"


def auth(mechanism: str, data: bytes | str) -> str:
    """An ``<auth/>``; bytes are put in base64, text is not."""
    text = data if isinstance(data, str) else base64.b64encode(data).decode() or "="
    return f"<auth xmlns='{ns.SASL}' mechanism='{mechanism}'>{text}</auth>"


def plain(user: str, password: str, authzid: str = "") -> str:
    """An ``<auth/>`` with PLAIN (RFC 4616)."""
    return auth("PLAIN", f"{authzid}\0{user}\0{password}".encode())


def response(data: bytes | str) -> str:
    """A SASL ``<response/>``."""
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return f"<response xmlns='{ns.SASL}'>{text}</response>"


def condition(element: Element) -> str:
    """The first child's name: what a stream error or a SASL failure says is wrong."""
    return element.elements()[0].name


def stanzaError(stanza: Element) -> tuple[str, str]:
    """Type and condition of an error stanza."""
    assert stanza.get("type") == "error", stanza
    error = stanza.find(ns.CLIENT, "error")
    assert error is not None, stanza
    (found,) = [child.name for child in error.elements() if child.ns == ns.STANZA_ERRORS and child.name != "text"]
    return error.get("type") or "", found


class RawClient:
    """One connection. `closed` is set when the server has ended it, `reset` if that was a reset."""

    def __init__(self, port: int, address: str | None = None, small: bool = False) -> None:
        self.address = address or ownAddress()
        self.socket: Any = socket.socket()
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.bind((self.address, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closed = self.reset = False
        try:
            self.socket.connect(("127.0.0.1", port))
        except ConnectionResetError:
            # A refusal that was quicker than the word that the connection is open.
            self.closed = self.reset = True
        self.jid = ""
        self.features = Element(ns.STREAM, "features")
        self.restart()

    def restart(self) -> None:
        """From now on a new stream is read."""
        self.items: deque[Item] = deque()
        self.raw = b""
        self._parser = StreamParser(_ROOMY)

    # -- TLS ---------------------------------------------------------------------------------

    def wrap(self, ca: Path | None, name: str = DOMAIN, context: ssl.SSLContext | None = None) -> None:
        """The TLS handshake, with the server's certificate verified unless a context says otherwise."""
        if context is None:
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["xmpp-client"])
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def startTLS(self, ca: Path | None, name: str = DOMAIN, context: ssl.SSLContext | None = None) -> None:
        """STARTTLS behind the features."""
        self.send(STARTTLS)
        assert self.element().name == "proceed"
        self.wrap(ca, name, context)
        self.restart()

    # -- bytes -------------------------------------------------------------------------------

    def send(self, data: str | bytes) -> None:
        """Send all of it; what the server thinks of it shows when reading."""
        try:
            self.socket.sendall(data.encode() if isinstance(data, str) else data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self.reset = True

    def flood(self, data: bytes, seconds: float = PATIENCE) -> int:
        """Send while reading until the server ends it; returns how much went out."""
        sent, until = 0, time.monotonic() + seconds
        self.socket.setblocking(False)
        while sent < len(data) and not self.closed and time.monotonic() < until:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 0.2)
            try:
                if writable:
                    sent += self.socket.send(data[sent : sent + 65536])
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except OSError:
                self.reset = True
                break
            if readable:
                self._read()
        self.socket.settimeout(PATIENCE)
        return sent

    def _read(self) -> None:
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except (ConnectionResetError, ssl.SSLError):
            self.reset = True
            data = b""
        self.raw += data
        self.items += [item for item, _ in self._parser.feed(data)]
        self.closed = self.closed or not data

    def finish(self) -> None:
        """Close our half of the connection and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Drop the connection."""
        self.socket.close()

    # -- items -------------------------------------------------------------------------------

    def next(self, patience: float = PATIENCE) -> Item | None:
        """The next item, None at the end of the connection."""
        until = time.monotonic() + patience
        while not self.items and not self.closed:
            left = until - time.monotonic()
            assert left > 0, f"nothing came in {patience:g} s; the last was {self.raw[-300:]!r}"
            self.socket.settimeout(left)
            try:
                self._read()
            except TimeoutError:
                pass
        self.socket.settimeout(PATIENCE)
        return self.items.popleft() if self.items else None

    def element(self, patience: float = PATIENCE) -> Element:
        """The next item, which has to be an element."""
        item = self.next(patience)
        assert isinstance(item, Element), (item, self.raw[-500:])
        return item

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while, and the connection stays."""
        ready = self.items or self.closed or select.select([self.socket], [], [], seconds)[0]
        return not ready

    def rest(self, patience: float = PATIENCE) -> list[Item]:
        """All items up to the end of the connection."""
        found: list[Item] = []
        while (item := self.next(patience)) is not None:
            found.append(item)
        return found

    def refused(self, *conditions: str, app: str = "", patience: float = PATIENCE) -> list[Item]:
        """The stream must end with one of these stream errors (and nothing behind it); returns what came before."""
        items = self.rest(patience)
        assert items and isinstance(items[-1], StreamEnd), (items[-3:], self.raw[-500:])
        error = items[-2]
        assert isinstance(error, Element) and (error.ns, error.name) == (ns.STREAM, "error"), error
        assert error.elements()[0].ns == ns.STREAM_ERRORS
        assert condition(error) in conditions, (condition(error), conditions)
        if app:
            assert app in [child.name for child in error.elements()], error
        return items[:-2]

    # -- negotiation -------------------------------------------------------------------------

    def open(self, to: str = DOMAIN, **more: str) -> StreamHeader:
        """A header, and what the server answers; `features` has the features then."""
        self.send(header(to, **more))
        answer = self.next()
        assert isinstance(answer, StreamHeader), answer
        self.features = self.element()
        assert self.features.name == "features", self.features
        return answer

    @property
    def mechanisms(self) -> list[str]:
        """What the features offer."""
        offer = self.features.find(ns.SASL, "mechanisms")
        return [each.text for each in offer.elements()] if offer else []

    def scram(self, user: str, password: str, name: str = "SCRAM-SHA-1", **more: Any) -> Element:
        """A whole SCRAM exchange; returns ``<success/>`` or ``<failure/>``."""
        client = ScramClient(user, password, DIGESTS[name.removesuffix("-PLUS")], secrets.token_hex(8), **more)
        self.send(auth(name, client.first()))
        challenge = self.element()
        if challenge.name != "challenge":
            return challenge
        self.send(response(client.final(base64.b64decode(challenge.text))))
        answer = self.element()
        if answer.name == "success":
            assert client.check(base64.b64decode(answer.text))
        return answer

    def authenticate(self, user: str, to: str = DOMAIN) -> None:
        """Log in with the password that all accounts here have, and restart the stream."""
        answer = self.scram(user, password(user))
        assert answer.name == "success", answer
        self.restart()
        self.open(to)

    def bind(self, resource: str = "") -> str:
        """Bind a resource; returns and keeps the full JID."""
        wanted = f"<resource>{resource}</resource>" if resource else ""
        reply = self.ask("set", f"<bind xmlns='{ns.BIND}'>{wanted}</bind>")
        assert reply.get("type") == "result", reply
        self.jid = reply.elements()[0].elements()[0].text
        return self.jid

    # -- a bound stream ----------------------------------------------------------------------

    def ask(self, type: str, payload: str, to: str = "", patience: float = PATIENCE) -> Element:
        """Send an IQ and return its answer; other stanzas that come before it stay in `items`."""
        id = f"q{next(_numbers)}"
        address = f" to='{to}'" if to else ""
        self.send(f"<iq type='{type}' id='{id}'{address}>{payload}</iq>")
        return self.find(lambda item: item.name == "iq" and item.get("id") == id, patience)

    def find(self, wanted: Any, patience: float = PATIENCE) -> Element:
        """The next element that is wanted; what came before it stays in `items`."""
        passed: list[Item] = []
        while True:
            item = self.element(patience)
            if wanted(item):
                self.items.extendleft(reversed(passed))
                return item
            passed.append(item)

    def ping(self, patience: float = PATIENCE) -> None:
        """The server answers: it has dealt with all that was sent before."""
        reply = self.ask("get", f"<ping xmlns='{ns.PING}'/>", DOMAIN, patience)
        assert reply.get("type") == "result", reply

    def available(self, inner: str = "") -> None:
        """Initial presence."""
        self.send(f"<presence>{inner}</presence>")
        self.find(lambda item: item.name == "presence" and item.get("from") == self.jid)

    def enable(self, resume: bool = True) -> str:
        """Stream management (XEP-0198); returns the id for a resumption."""
        self.send(f"<enable xmlns='{ns.SM}' resume='{str(resume).lower()}'/>")
        return self.find(lambda item: item.name == "enabled").get("id") or ""

    def stanzas(self) -> list[Element]:
        """Every stanza that has come by now, in order; acknowledgement business left out."""
        self.ping()
        found = [item for item in self.items if isinstance(item, Element) and item.ns == ns.CLIENT]
        self.items.clear()
        return found

    def messages(self, least: int = 0, patience: float = PATIENCE) -> list[Element]:
        """The messages among `stanzas`; waits until there are at least so many."""
        until = time.monotonic() + patience
        found = [stanza for stanza in self.stanzas() if stanza.name == "message"]
        while len(found) < least and time.monotonic() < until:
            time.sleep(0.02)
            found += [stanza for stanza in self.stanzas() if stanza.name == "message"]
        return found


def password(user: str) -> str:
    """The password of a test account."""
    return user[::-1]


def content(stanza: Element) -> list[Element]:
    """What a stanza holds, without the ids that the server adds (XEP-0359)."""
    return [child for child in stanza.elements() if child.ns != ns.SID]


def names(elements: Iterable[Element]) -> list[str]:
    """Their names."""
    return [element.name for element in elements]
