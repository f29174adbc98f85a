"""Mutations at three levels: trees (the result is well-formed), tags, and bytes. All decisions come from the seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tests.fuzz.examples import trees
from xmppservice.wire import ns
from xmppservice.wire.element import XML_LANG, Element

NASTY_TEXT = (
    "", " ", "0", "-1", "1", "true", "2147483648", "4294967296", "18446744073709551616", "1e9", "0x10", "NaN", "١٢",
    "\u202e", "\u200b", "é", "e\u0301", "ﬁ", "İ", "ß", "\U0001f600", "\ufdd0", "a" * 300, "é" * 1024, "&<>'\"",
    "]]>",
    "\t\n\r", "../..", "%s%n", "\\0", "' OR 1=1--", "none", "both", "remove", "subscribe", "result", "error", "get",
    "set", "a@b@c", "@", "/", "a@", "@b", "localhost", "user1@localhost", "user1@localhost/r",
    "user1@localhost/", "x" * 1024,
    "a@localhost/" + "r" * 1023, "a@" + "b" * 64 + ".c", "xn--a", "[::1]", "1969-07-21T02:56:15Z",
    "9999-99-99T99:99:99Z",
)  # fmt: skip
NAMES = (
    "query", "item", "x", "iq", "message", "presence", "error", "body", "r", "a", "enable", "resume", "stream",
    "group",
    "ping", "vCard", "auth", "response", "bind", "resource", "field", "value", "set", "block", "c", "delay",
    "status",
)  # fmt: skip
SPACES = (
    ns.CLIENT, ns.STREAM, ns.SM, ns.SASL, ns.TLS, ns.BIND, ns.STANZA_ERRORS, ns.PING, "", "jabber:server",
    "jabber:x:data", "jabber:iq:roster", "jabber:iq:register", "vcard-temp", "urn:xmpp:blocking",
    "jabber:iq:private", "urn:x" * 80, "é",
    "http://jabber.org/protocol/disco#info", "urn:xmpp:sid:0", "urn:xmpp:delay", "jabber:iq:last",
)  # fmt: skip
ATTRIBUTES = ("to", "from", "id", "type", "xmlns:", "node", "jid", "h", "previd", "subscription", "var", "ver", "max")
FRAGMENTS = (
    b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbf\xbf", b"\xef\xbb\xbf",
    b"\xfe\xff",
    b"&", b"&lt;", b"&#0;", b"&#x110000;", b"&a;", b"<", b">", b"'", b'"', b"]]>", b"<![CDATA[", b"<!--",
    b"-->", b"<?x?>",
    b"</", b"/>", b"<!DOCTYPE a>", b"<?xml version='1.0'?>", b"xmlns='", b"xmlns:a=''", b"</stream:stream>",
    b" ", b"\n",
    b"\r", b"<stream:stream>", b"<a", b"<a/>", b"<r xmlns='urn:xmpp:sm:3'/>", b"A" * 5000, b"<a>" * 40, b"</iq>",
    b"</message>",
)  # fmt: skip
_TOKEN = re.compile(rb"<[^<>]*>|[^<>]+|.", re.DOTALL)
_BRANCHES = 400

Chance = random.Random


def nodes(top: Element) -> list[Element]:
    """The elements of a tree, itself first; of a large one some."""
    found = [top]
    for each in found:
        if len(found) > _BRANCHES:
            break
        found.extend(each.elements())
    return found


# -- trees ------------------------------------------------------------------------------------


def _value(node: Element, chance: Chance) -> None:
    if node.attrs:
        node.attrs[chance.choice(list(node.attrs))] = chance.choice(NASTY_TEXT)


def _attribute(node: Element, chance: Chance) -> None:
    key = chance.choice(ATTRIBUTES)
    if key == "xmlns:":
        key = chance.choice((XML_LANG, "urn:example:a b", ns.XML + " space"))
    node.attrs[key] = chance.choice(NASTY_TEXT)


def _without(node: Element, chance: Chance) -> None:
    if node.attrs:
        del node.attrs[chance.choice(list(node.attrs))]


def _rename(node: Element, chance: Chance) -> None:
    node.name = chance.choice(NAMES)


def _space(node: Element, chance: Chance) -> None:
    node.ns = chance.choice(SPACES)


def _text(node: Element, chance: Chance) -> None:
    node.children.insert(chance.randint(0, len(node.children)), chance.choice(NASTY_TEXT))


def _onlyText(node: Element, chance: Chance) -> None:
    node.children = [chance.choice(NASTY_TEXT)]


def _drop(node: Element, chance: Chance) -> None:
    if node.children:
        del node.children[chance.randrange(len(node.children))]


def _double(node: Element, chance: Chance) -> None:
    if node.children:
        child = chance.choice(node.children)
        times = chance.choice((1, 1, 2, 50))
        node.children += [child if isinstance(child, str) else child.copy() for _ in range(times)]


def _shuffle(node: Element, chance: Chance) -> None:
    chance.shuffle(node.children)


def _wrap(node: Element, chance: Chance) -> None:
    levels = chance.choice((1, 1, 2, 20, 70))
    for _ in range(levels):
        node.children = [Element(node.ns, node.name, None, *node.children)]


def _graft(node: Element, chance: Chance) -> None:
    other = chance.choice(trees())
    node.children.append(chance.choice(nodes(other)).copy())


_TREE: tuple[Callable[[Element, Chance], None], ...] = (
    _value, _value, _value, _attribute, _attribute, _without, _without, _rename, _space, _text, _onlyText,
    _drop, _drop,
    _double, _shuffle, _wrap, _graft,
)  # fmt: skip


def mutateTree(top: Element, chance: Chance, count: int) -> Element:
    """A copy with so many mutations; it can always be written."""
    tree = top.copy()
    for _ in range(count):
        chance.choice(_TREE)(chance.choice(nodes(tree)), chance)
    return tree


# -- tags and bytes ---------------------------------------------------------------------------


def mutateTags(data: bytes, chance: Chance, count: int) -> bytes:
    """Tags and texts dropped, doubled, exchanged or put elsewhere."""
    tokens: list[bytes] = _TOKEN.findall(data)
    for _ in range(count):
        if not tokens:
            break
        at, other = chance.randrange(len(tokens)), chance.randrange(len(tokens))
        kind = chance.randrange(5)
        if kind == 0:
            del tokens[at]
        elif kind == 1:
            tokens.insert(other, tokens[at])
        elif kind == 2:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif kind == 3:
            tokens.insert(at, chance.choice(FRAGMENTS))
        else:
            tokens[at] = mutateBytes(tokens[at], chance, 1)
    return b"".join(tokens)


def mutateBytes(data: bytes, chance: Chance, count: int) -> bytes:
    """Bytes flipped, cut out, doubled, or fragments put in."""
    found = bytearray(data)
    for _ in range(count):
        at = chance.randrange(len(found) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del found[at : at + chance.choice((1, 1, 2, 8, 64))]
        elif kind == 2:
            found[at:at] = found[at : at + chance.choice((1, 4, 32))]
        elif kind == 3:
            found[at:at] = bytes((chance.randrange(256),))
        elif kind == 4 and chance.randrange(4) == 0:
            del found[at:]
        else:
            found[at:at] = chance.choice(FRAGMENTS)
    return bytes(found)
