"""Questions to a name server and what counts as their answer (RFC 1035, RFC 2181); nothing here does I/O.

A reply is an answer only if it carries the id of the question and repeats the question (RFC 5452 9.1), is
complete and can be read as a whole. Records count only if they belong to the name that was asked for, or to a name that
the reply's own aliases lead to; what else a server sends along is left out (RFC 2181 5.4.1).
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.names import dns
from zope.interface import Interface

A: Final = dns.A
AAAA: Final = dns.AAAA
SRV: Final = dns.SRV
TLSA: Final = 52
KINDS: Final = {A: "A", AAAA: "AAAA", SRV: "SRV", TLSA: "TLSA"}

MAX_RECORDS: Final = 100
"""Records of one answer that are kept."""
MAX_NAME: Final = 253
_MAX_ALIASES: Final = 16
_HEADER: Final = 12
_CODES: Final = {dns.EFORMAT: "FORMERR", dns.ESERVER: "SERVFAIL", dns.ENOTIMP: "NOTIMP", dns.EREFUSED: "REFUSED"}


class LookupFailed(Exception):
    """Nobody knows: no answer in time, or only answers that are errors. The text says it for people."""


@attrs.frozen
class Answer:
    """What the DNS says about one name and type.

    `records` are payloads of `twisted.names.dns`: `Record_A.dottedQuad()`, `Record_AAAA`, `Record_SRV`; for TLSA
    an `UnknownRecord` whose `data` is the record. `exists` is false if there is no such name (NXDOMAIN).
    `secure`: a configured resolver says that DNSSEC proves this, also if it is that there is nothing. `ttl` in seconds.
    """

    records: tuple[Any, ...] = ()
    exists: bool = True
    secure: bool = False
    ttl: int = 0


class INames(Interface):
    """Who answers questions about names."""

    def ask(name: str, kind: int) -> Deferred[Answer]:
        """Ask for the records of a type (`A`, `AAAA`, `SRV`, `TLSA`) of a name in A-labels.

        Fails with `LookupFailed`, within a bounded time.
        """


class Truncated(Exception):
    """The reply did not fit; it is to be had over TCP."""


class Useless(Exception):
    """A reply that is no answer to the question; `final` if it does come from who was asked, so waiting is no use."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def canBeAsked(name: str) -> bool:
    """Whether the DNS could have the name (RFC 1035 2.3.4)."""
    labels = name.split(".")
    return name.isascii() and len(name) <= MAX_NAME and all(0 < len(label) < 64 for label in labels)


@attrs.frozen
class Question:
    """One question with an id nobody can guess."""

    name: str
    kind: int
    id: int = attrs.field(factory=lambda: secrets.randbelow(65536))

    def encode(self) -> bytes:
        """The datagram; the AD bit asks to be told about DNSSEC (RFC 6840 5.7)."""
        message = dns.Message(self.id, recDes=1, authenticData=1)
        message.addQuery(self.name, self.kind)
        return message.toStr()

    def decode(self, data: bytes) -> Answer:
        """The answer in a reply; raises `Truncated` or `Useless`."""
        # QR is set, OPCODE is 0.
        if len(data) < _HEADER or data[:2] != self.id.to_bytes(2, "big") or data[2] & 0xF8 != 0x80:
            raise Useless("not a reply to this question")
        truncated = bool(data[2] & 2)
        message = _read(data, onlyQuestion=truncated)
        if not self._repeats(message):
            raise Useless("a reply to another question")
        if truncated:
            raise Truncated("a reply that did not fit")
        if message.rCode not in (dns.OK, dns.ENAME):
            raise Useless(_CODES.get(message.rCode, f"error code {message.rCode}"), final=True)
        return self._select(message)

    def _repeats(self, message: dns.Message) -> bool:
        if len(message.queries) != 1:
            return False
        query = message.queries[0]
        return (
            query.name.name.lower() == self.name.lower().encode() and query.type == self.kind and query.cls == dns.IN
        )

    def _select(self, message: dns.Message) -> Answer:
        owned: dict[bytes, list[Any]] = {}
        for header in message.answers:
            if header.cls == dns.IN:
                owned.setdefault(header.name.name.lower(), []).append(header)
        name, seen, ttls = self.name.lower().encode(), set[bytes](), []
        while name not in seen and len(seen) < _MAX_ALIASES:
            seen.add(name)
            records = [header for header in owned.get(name, ()) if header.type == self.kind]
            if records:
                ttls += [header.ttl for header in records]
                kept = tuple(header.payload for header in records[:MAX_RECORDS])
                return Answer(kept, True, bool(message.authenticData), _least(ttls))
            for header in owned.get(name, ()):
                if header.type == dns.CNAME:
                    ttls.append(header.ttl)
                    name = header.payload.name.name.lower()
                    break
        for header in message.authority:
            # RFC 2308 5: for so long it holds that there is nothing.
            if isinstance(header.payload, dns.Record_SOA):
                ttls += [header.ttl, header.payload.minimum]
        return Answer((), message.rCode == dns.OK, bool(message.authenticData), _least(ttls))


def _least(ttls: list[int]) -> int:
    # RFC 2181 8: with the highest bit set it counts as 0.
    return min((0 if ttl >= 1 << 31 else ttl for ttl in ttls), default=0)


def _read(data: bytes, onlyQuestion: bool) -> dns.Message:
    if onlyQuestion:
        # What follows may end anywhere.
        data = data[:6] + bytes(6) + data[_HEADER:]
    message = dns.Message()
    try:
        message.fromStr(data)
    except Exception as error:
        # The reader of Twisted Names has many ways to fail on bytes that mean nothing, and no list of them.
        raise Useless("a reply that cannot be read") from error
    # It takes a reply that ends early for one with fewer records.
    counts = (len(message.queries), len(message.answers), len(message.authority), len(message.additional))
    if counts != tuple(int.from_bytes(data[at : at + 2], "big") for at in (4, 6, 8, 10)):
        raise Useless("a reply that is cut off")
    return message
