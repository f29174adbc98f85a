"""One scripted client on a socket: sends what its script says when it is due, and judges what comes back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pyexpat
import re
import socket
import struct
from functools import lru_cache
from itertools import pairwise

from tests.fuzz.sessions import BREAKER, FOOTER, NONCE, PASSWORD, Script, Step

LIMIT = 1.0
"""Seconds after which an answer is missing."""
QUIET = 0.2
"""Seconds after the last word when a client that may have left a tag open gives up."""

_BIND_NO_PORT = 24
_RESET = struct.pack("ii", 1, 0)
_ANSWER = re.compile(rb"<iq\b[^>]*>")
_ID = re.compile(rb"\bid=['\"]([^'\"]*)")
_TYPE = re.compile(rb"\btype=['\"](result|error)['\"]")
_PREVID = re.compile(rb"<enabled [^>]*\bid=['\"]([^'\"]+)")
_STREAM = re.compile(rb"<stream:stream\b")


@lru_cache(1024)
def _keys(salt: bytes, count: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), salt, count)
    client = hmac.digest(salted, b"Client Key", "sha1")
    return client, hashlib.sha1(client, usedforsecurity=False).digest()


def proof(user: str, challenge: bytes) -> bytes:
    """The ``<response/>`` to a SCRAM-SHA-1 challenge (RFC 5802 section 3)."""
    text = base64.b64decode(challenge)
    fields = dict(part.split(b"=", 1) for part in text.split(b","))
    client, stored = _keys(base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    final = b"c=biws,r=" + fields[b"r"]
    message = f"n={user},r={NONCE},".encode() + text + b"," + final
    signature = hmac.digest(stored, message, "sha1")
    sign = base64.b64encode(bytes(a ^ b for a, b in zip(client, signature, strict=True)))
    data = base64.b64encode(final + b",p=" + sign)
    return b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + data + b"</response>"


def addressOf(number: int) -> str:
    """An own loopback address for each client: 127.1.0.0 to 127.127.255.255."""
    number %= 127 << 16
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


class Client:
    """A connection. `finding` says what was wrong with the server's behaviour, if something was.

    States: it works its steps off; then it waits for what is due; then it leaves in its way and waits for the end
    of the connection. `due` is the time by which the server must have done something.
    """

    def __init__(
        self, number: int, script: Script, steps: list[Step], port: int, now: float, previd: bytes = b""
    ) -> None:
        self.number, self.script = number, script
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_IP, _BIND_NO_PORT, 1)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.bind((addressOf(number), 0))
        self.sock.connect_ex(("127.0.0.1", port))
        self.fd = self.sock.fileno()
        self.steps = [Step(list(step.pieces), step.after) for step in steps]
        self.heard = b""
        self.previd = previd
        self.leaving = self.ended = self.reset = False
        self.satisfied = False
        self.finding = ""
        self.sent: list[bytes] = []
        self.sentAt = now
        self.due = now + LIMIT
        self._unsent = b""

    # -- sending ------------------------------------------------------------------------------

    @property
    def wantsWrite(self) -> bool:
        """Whether there is something to send now."""
        return bool(self._unsent) or bool(self.steps and not self.steps[0].after)

    def write(self, now: float) -> None:
        """Send one piece of what is due."""
        if not self._unsent:
            if not self.steps or self.steps[0].after:
                return
            self._unsent = self.steps[0].pieces.pop(0).replace(b"@PREVID@", self.previd)
            self.sent.append(self._unsent)
        try:
            count = self.sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            # The server has ended it; what it said comes with the next read.
            self._unsent = b""
            self.steps.clear()
            return
        self._unsent = self._unsent[count:]
        if not self._unsent and not self.steps[0].pieces:
            del self.steps[0]
        self.due = now + LIMIT
        self.sentAt = now

    # -- hearing ------------------------------------------------------------------------------

    def read(self, now: float) -> None:
        """Take what has come, and go on if that was waited for."""
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            self.reset = self.ended = True
            return
        if not data:
            self.ended = True
            return
        self.heard += data
        if self.steps and self.steps[0].after and self.steps[0].after in self.heard:
            self._goOn(now)
        elif not self.steps and not self.leaving and self.satisfiedBy():
            self.leave(now)

    def _goOn(self, now: float) -> None:
        step = self.steps[0]
        if step.after == b"</challenge>":
            end = self.heard.rfind(b"</challenge>")
            challenge = self.heard[self.heard.rfind(b">", 0, end) + 1 : end]
            step.pieces.insert(0, proof(self.script.user, challenge))
        elif step.after == b"<enabled ":
            found = _PREVID.search(self.heard)
            self.previd = found[1] if found else b"none"
            self.leaving = True
            self.abort()
        step.after = b""
        self.due = now + LIMIT

    def answers(self) -> list[bytes]:
        """The ids of all results and errors that have come."""
        found = []
        for tag in _ANSWER.findall(self.heard):
            if _TYPE.search(tag) and (id := _ID.search(tag)):
                found.append(id[1])
        return found

    def satisfiedBy(self) -> bool:
        """Whether all has come that has to."""
        if FOOTER in self.heard[-200:] or b"</stream:error>" in self.heard[-200:]:
            return True
        answers = self.answers()
        self.satisfied = all(id.encode() in answers for id in (self.script.last, *self.script.asked))
        return self.satisfied

    # -- leaving ------------------------------------------------------------------------------

    def leave(self, now: float) -> None:
        """All is said; from now on the server has a second to end the connection."""
        self.leaving = True
        self.due = now + LIMIT
        end = self.script.end
        try:
            if end == "footer":
                self.sock.send(FOOTER)
            elif end == "abort":
                self.abort()
            else:
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            # The server was quicker.
            pass

    def abort(self) -> None:
        """Leave with a reset."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            pass
        self.ended = True

    def tick(self, now: float, slack: float = 0.0) -> bool:
        """Time has passed; True if the server is late."""
        if not self.leaving and not self.steps and not self._unsent and not self.script.strict:
            if self.script.end != "breaker" and now - self.sentAt > QUIET:
                self.script.end = "half"
                self.leave(now)
        return now > self.due + slack

    def judge(self) -> None:
        """The connection is over: what was heard must be right in itself."""
        answers = self.answers()
        errors = self.heard.count(b"</stream:error>")
        for id in (self.script.last, *self.script.asked):
            if self.script.strict and answers.count(id.encode()) > 1:
                self.finding = f"answered more than once: {id}"
        if not self.heard and not self.reset and self.sent:
            self.finding = "closed without a word"
        elif errors > 1 or (errors and not self.heard.endswith((b"</stream:error>" + FOOTER, b"</stream:error>"))):
            self.finding = "something behind the stream error"
        elif (reason := illFormed(self.heard, self.reset)) and not self.script.end == "abort":
            self.finding = f"ill-formed output: {reason}"


def illFormed(heard: bytes, cut: bool) -> str:
    """Why the server's words are not XML; each stream of the connection is looked at."""
    starts = [match.start() for match in _STREAM.finditer(heard)]
    for begin, end in pairwise([*starts, len(heard)]):
        text = heard[begin:end]
        parser = pyexpat.ParserCreate(namespace_separator=" ")
        try:
            parser.Parse(text.replace(b"<?xml version='1.0'?>", b""), end == len(heard) and text.endswith(FOOTER))
        except pyexpat.ExpatError as error:
            return str(error)
    return ""


def steppedBytes(script: Script) -> list[bytes]:
    """Everything that a script sends by itself, for a look at it."""
    return [piece for step in (*script.steps, *script.second) for piece in step.pieces]


__all__ = ["BREAKER", "LIMIT", "Client", "addressOf", "illFormed", "proof", "steppedBytes"]
