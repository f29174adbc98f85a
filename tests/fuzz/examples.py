"""The XML examples of the RFCs and XEPs: interoperability facts, folded into one line each by ``extract``."""

from __future__ import annotations

from functools import cache

from tests.fuzz.extract import TARGET
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.items import StreamHeader
from xmppservice.wire.limits import Limits
from xmppservice.wire.parser import StreamParser

ROOMY = Limits(1 << 24, 1 << 20, 6000, 4096, 1 << 22, None, 1 << 20)
"""Limits that no test input reaches."""

HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" xmlns:db='jabber:server:dialback' version='1.0' to='localhost'>"
)


@cache
def examples() -> tuple[bytes, ...]:
    """Every fragment, as bytes that fit behind `HEADER`."""
    return tuple(TARGET.read_bytes().splitlines())


@cache
def trees() -> tuple[Element, ...]:
    """Every fragment that our parser takes, as an element."""
    found = []
    for line in examples():
        parser = StreamParser(ROOMY)
        items = [item for item, _ in parser.feed(HEADER + line)]
        if len(items) == 2 and isinstance(items[0], StreamHeader) and isinstance(items[1], Element):
            found.append(items[1])
    return tuple(found)


@cache
def stanzas() -> tuple[Element, ...]:
    """Those of them that are messages, presences and IQs."""
    names = ("message", "presence", "iq")
    return tuple(each for each in trees() if each.ns == ns.CLIENT and each.name in names)
