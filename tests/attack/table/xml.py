"""Rows about XML (RFC 6120 11; hardening X01-X11, 3.1, 3.4)."""

from __future__ import annotations

from functools import partial

from tests.attack.inputs.xml import FORBIDDEN, HUGE, MALFORMED, PLACES
from tests.attack.raw import DOMAIN, content, header
from tests.attack.table.arena import Arena, settle, tell
from tests.attack.table.row import Row
from xmppservice.wire import ns
from xmppservice.wire.element import Element

RESTRICTED = ("restricted-xml, closed", "bad-format, closed")
BROKEN = ("not-well-formed, closed", "bad-format, closed")
_FLOOD = 4.0
_BITS = ("overlong", "surrogate", "beyond Unicode", "five bytes", "continuation", "cut short", "cut character")


def rows() -> list[Row]:
    """Forbidden, broken, too much, and what must come through."""
    return [*_forbidden(), *_broken(), *_tooMuch(), *_through()]


def _forbidden() -> list[Row]:
    found = [
        Row("X01", f"{name} before the header", "11.1", partial(Arena.opening, data=bad + header()), RESTRICTED)
        for name, bad in FORBIDDEN.items()
    ]
    for name, bad in FORBIDDEN.items():
        # Behind the root's start a document type is no XML either.
        wanted = (*RESTRICTED, "not-well-formed, closed") if bad.startswith("<!D") else RESTRICTED
        attempt = partial(Arena.bound, data=PLACES[1].format(bad))
        found.append(Row("X01", f"{name} inside a stanza", "11.1", attempt, wanted))
    for name, bad in {"comment": "<!-- x -->", "instruction": "<?php?>"}.items():
        found.append(Row("X01", f"{name} between stanzas", "11.1", partial(Arena.bound, data=bad), RESTRICTED))
    entity = partial(Arena.bound, data="<message><body>&nbsp;</body></message>")
    return [*found, Row("X01", "an entity that is none of the five", "11.1", entity, (*RESTRICTED, BROKEN[0]))]


def _broken() -> list[Row]:
    found = []
    for name, bad in MALFORMED.items():
        wanted = BROKEN
        if any(bit in name for bit in _BITS):
            wanted = (*BROKEN, "unsupported-encoding, closed")
        if "prefix" in name:
            wanted = (*BROKEN, "bad-namespace-prefix, closed")
        found.append(Row("X10", name, "11.3", partial(Arena.bound, data=bad), wanted))
    prefixes = (*BROKEN, "bad-namespace-prefix, closed")
    for name, text in {"an element": "<foo:message/>", "an attribute": "<message foo:id='1'/>"}.items():
        found.append(Row("X10", f"an unbound prefix of {name}", "4.9.3.2", partial(Arena.bound, data=text), prefixes))
    return found


def _flood(arena: Arena, data: bytes) -> str:
    client = arena.stranger()
    client.flood(data, _FLOOD)
    if not client.closed and not client.reset:
        return f"reads on, open after {_FLOOD:g} s"
    return tell(client.rest(), client)


def _large(arena: Arena) -> str:
    alice, bob = arena.member(), arena.member(presence=True)
    alice.send(f"<message to='{bob.jid}'><body>{'x' * 9900}</body></message>")
    alice.ping()
    return "delivered" if bob.messages(1, 3) else "not delivered"


def _tooMuch() -> list[Row]:
    found = []
    for name in ("text", "an attribute", "a tag's name", "white space in a tag", "elements", "depth"):
        start, filling = HUGE[name]
        data = start + (filling or b"x") * (10_000_000 // len(filling or b"x"))
        found.append(
            Row("X04", f"10 MB as {name}, before authentication", "13.12 (4)", partial(_flood, data=data),
                ("policy-violation*, closed",), ("reads on*", "*closed"))
        )  # fmt: skip
    return [*found, Row("X04", "a stanza of 10,000 bytes", "13.12 (4)", _large, ("delivered",))]


NASTY = "&apos;&quot;&lt;&gt;&amp;&#9;&#10;&#13;/&gt;&lt;/message&gt;&lt;iq type=&apos;set&apos;/&gt;]]&gt;"
PLAIN = "'\"<>&\t\n\r/></message><iq type='set'/>]]>"
SPACE, NAME = NASTY.replace(" ", ""), PLAIN.replace(" ", "")


def _everywhere(arena: Arena) -> str:
    """A message with every special character in every place; the recipient's stanzas are compared as trees."""
    alice, bob = arena.member(), arena.member(presence=True)
    alice.send(
        f"<message to='{bob.jid}' id='{NASTY}'><body>{NASTY}</body><x xmlns='u{SPACE}' a='{NASTY}'><y/></x>"
        f"<p:x xmlns:p='v{SPACE}' p:a='{NASTY}'/></message>"
    )
    if (answer := tell(settle(alice), alice)) != "kept":
        return answer
    got = [item for item in settle(bob) if isinstance(item, Element)]
    wanted = [
        Element(ns.CLIENT, "body", {}, PLAIN),
        Element(f"u{NAME}", "x", {"a": PLAIN}, Element(f"u{NAME}", "y")),
        Element(f"v{NAME}", "x", {f"v{NAME} a": PLAIN}),
    ]
    if len(got) != 1:
        return f"{len(got)} stanzas delivered"
    same = all(each in content(got[0]) for each in wanted) and got[0].get("id") == PLAIN
    return f"1 stanza delivered, {'the same' if same else 'another'} tree"


def _meaning(arena: Arena) -> str:
    alice, bob = arena.member(), arena.member(presence=True)
    alice.send(f"<message to='{bob.jid}'><body>  a\n\tb <![CDATA[<&]]>&#x1F600;</body><q:a xmlns:q='urn:example:q' "
               "q:b='3' b='4'><c xmlns=''/></q:a></message>")  # fmt: skip
    alice.ping()
    got = content(bob.element(3))
    inner = Element("urn:example:q", "a", {"urn:example:q b": "3", "b": "4"}, Element("", "c"))
    text = [child.text for child in got if child.name == "body"]
    return "the same tree" if inner in got and text == ["  a\n\tb <&\U0001f600"] else "another tree"


def _cut(arena: Arena) -> str:
    alice, bob = arena.member(), arena.member(presence=True)
    data = f"<message to='{bob.jid}' id='é&gt;'><body>1 &lt; 2 ü</body></message>".encode()
    for at in range(len(data)):
        alice.send(data[at : at + 1])
    return "delivered" if bob.messages(1, 3) else "not delivered"


def _through() -> list[Row]:
    long = f"<iq type='get' id='1' to='{DOMAIN}'><ping xmlns='{ns.PING}'/></iq>"
    return [
        Row("X11", "quotes, brackets, line ends in every place", "11.3", _everywhere,
            ("1 stanza delivered, the same tree",), ("*, closed", "[01] stanza*")),
        Row("X11", "CDATA, references, prefixes, redeclared namespaces", "11.1, 8.4", _meaning, ("the same tree",)),
        Row("X07", "a stanza byte by byte", "11", _cut, ("delivered",)),
        Row("X10", "a request behind white space", "11.7", partial(Arena.bound, data=" \n\t" + long),
            ("result, kept",)),
    ]  # fmt: skip
