"""Stream headers and ways to feed a parser, for the tests of row 0."""

from __future__ import annotations

from xmppservice.wire.parser import AUTHENTICATED, Item, Limits, ParseError, StreamParser


def header(content: str = "jabber:client", lang: str = "") -> bytes:
    """A stream header as a peer sends it."""
    language = f" xml:lang='{lang}'" if lang else ""
    return (
        "<?xml version='1.0'?><stream:stream to='example.com' version='1.0'"
        f"{language} xmlns='{content}' xmlns:stream='http://etherx.jabber.org/streams'>"
    ).encode()


HEADER = header()


def feedAll(data: bytes, step: int = 0, limits: Limits = AUTHENTICATED) -> list[tuple[Item, int]]:
    """The items of a stream fed in pieces of `step` bytes (0: at once), with absolute end offsets."""
    parser = StreamParser(limits)
    step = step or len(data)
    out: list[tuple[Item, int]] = []
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        for item, end in parser.feed(piece):
            assert 0 <= end <= len(piece)
            assert parser.pending(end) == piece[end:]
            out.append((item, at + end))
    return out


def items(data: bytes, step: int = 0, limits: Limits = AUTHENTICATED) -> list[Item]:
    """What follows the header in a stream that begins with `HEADER`."""
    return [item for item, _ in feedAll(HEADER + data, step, limits)][1:]


def verdict(data: bytes, step: int = 0, limits: Limits = AUTHENTICATED) -> str | None:
    """The stream error condition for bytes behind a good header, if any."""
    found = items(data, step, limits)
    last = found[-1] if found else None
    return last.condition if isinstance(last, ParseError) else None
