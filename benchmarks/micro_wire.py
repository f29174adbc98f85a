"""Row 0 against its floor: what parsing and serialising cost beyond expat with empty callbacks.

Run ``python benchmarks/micro_wire.py``.  The ratios matter, the microseconds
belong to the machine.
"""

from __future__ import annotations

import pyexpat
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xmppservice.wire.element import Element
from xmppservice.wire.parser import AUTHENTICATED, StreamParser
from xmppservice.wire.serializer import innerBytes, serialize, startTag

HEADER = (
    b"<?xml version='1.0'?><stream:stream to='example.com' version='1.0' xml:lang='en' "
    b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
)
CHAT = (
    b"<message to='juliet@example.com/balcony' id='ktx72v49' type='chat'>"
    b"<body>Art thou not Romeo, and a Montague?</body>"
    b"<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>"
    b"<origin-id xmlns='urn:xmpp:sid:0' id='ktx72v49'/></message>"
)
PING = b"<iq to='example.com' id='p1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"
IDLE = 2000


def floor() -> Callable[[bytes], object]:
    """Expat with callbacks in Python that do nothing."""
    expat = pyexpat.ParserCreate("UTF-8", " ")
    expat.StartElementHandler = lambda tag, attrs: None
    expat.EndElementHandler = lambda tag: None
    expat.CharacterDataHandler = lambda text: None
    expat.Parse(HEADER)
    return expat.Parse


def microseconds(call: Callable[[], object], number: int = 10_000) -> float:
    """The best of several runs."""
    return min(timeit.repeat(call, number=number, repeat=7)) / number * 1e6


def compare(name: str, stanza: bytes) -> None:
    """Print one stanza's figures, each with its ratio to the floor."""
    bare = floor()
    parser = StreamParser(AUTHENTICATED)
    parser.feed(HEADER)
    [(element, _)] = parser.feed(stanza)
    assert isinstance(element, Element)
    base = microseconds(lambda: bare(stanza))
    rows = {
        "expat floor": base,
        "parse": microseconds(lambda: parser.feed(stanza)),
        "innerBytes": microseconds(lambda: innerBytes(element)),
        "startTag": microseconds(lambda: startTag(element.name, element.attrs)),
        "serialize": microseconds(lambda: serialize(element)),
    }
    for row, cost in rows.items():
        print(f"{name:6} {row:12} {cost:6.2f} us  {cost / base:5.2f} x")


def slowAttribute() -> None:
    """One attribute of 8 KiB and of 60 KiB that comes byte by byte: linear, or the guard is broken."""
    for size in (8_000, 60_000):
        parser = StreamParser(AUTHENTICATED)
        parser.feed(HEADER)
        pieces = [b"<a b='"] + [b">"] * size + [b"'/>"]
        started = time.perf_counter()
        for piece in pieces:
            parser.feed(piece)
        cost = time.perf_counter() - started
        print(f"{'slow':6} {'attribute':12} {cost / size * 1e6:6.2f} us a byte, {size} bytes")


def memory() -> None:
    """What an idle stream holds, expat included; awake, and asleep."""
    import tracemalloc

    tracemalloc.start()
    parsers = [StreamParser(AUTHENTICATED) for _ in range(IDLE)]
    for parser in parsers:
        parser.feed(HEADER)
        parser.feed(CHAT)
    print(f"{'memory':6} {'awake':12} {tracemalloc.get_traced_memory()[0] / IDLE / 1024:6.2f} KiB")
    for parser in parsers:
        parser.sleep()
    print(f"{'memory':6} {'asleep':12} {tracemalloc.get_traced_memory()[0] / IDLE / 1024:6.2f} KiB")
    tracemalloc.stop()


if __name__ == "__main__":
    compare("chat", CHAT)
    compare("ping", PING)
    slowAttribute()
    memory()
