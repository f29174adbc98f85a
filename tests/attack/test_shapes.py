"""Requests that are nearly right, for every namespace we serve; validators with the worst strings (X14, D12)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from tests.attack.raw import DOMAIN, PATIENCE, RawClient
from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.protocol.sasl.encoding import decodeBase64
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import serialize

Clients = Callable[..., RawClient]


def _form(*fields: Element) -> Element:
    return Element("jabber:x:data", "x", {"type": "submit"}, *fields)


_FIELD = Element("jabber:x:data", "field", {"var": "username"}, Element("jabber:x:data", "value", {}, "x"))
#: One good request for each thing that can be asked of us: type, payload.
GOOD: list[tuple[str, Element]] = [
    ("get", Element(ns.DISCO_INFO, "query", {"node": "n"})),
    ("get", Element(ns.DISCO_ITEMS, "query", {"node": "n"})),
    ("get", Element(ns.PING, "ping")),
    ("get", Element(ns.VERSION, "query")),
    ("get", Element(ns.TIME, "time")),
    ("get", Element(ns.LAST, "query")),
    ("get", Element(ns.VCARD, "vCard")),
    ("set", Element(ns.VCARD, "vCard", {}, Element(ns.VCARD, "FN", {}, "x"))),
    ("get", Element(ns.PRIVATE, "query", {}, Element("urn:example:s", "storage"))),
    ("set", Element(ns.PRIVATE, "query", {}, Element("urn:example:s", "storage", {"a": "b"}, "x"))),
    ("get", Element(ns.ROSTER, "query", {"ver": ""})),
    ("set", Element(ns.ROSTER, "query", {}, Element(ns.ROSTER, "item", {"jid": "a@b.test", "name": "n"},
                                                    Element(ns.ROSTER, "group", {}, "g")))),
    ("set", Element(ns.ROSTER, "query", {}, Element(ns.ROSTER, "item", {"jid": "a@b.test", "subscription": "remove"}))),
    ("get", Element(ns.BLOCKING, "blocklist")),
    ("set", Element(ns.BLOCKING, "block", {}, Element(ns.BLOCKING, "item", {"jid": "a@b.test"}))),
    ("set", Element(ns.BLOCKING, "unblock", {}, Element(ns.BLOCKING, "item", {"jid": "a@b.test"}))),
    ("get", Element(ns.REGISTER, "query")),
    ("set", Element(ns.REGISTER, "query", {}, Element(ns.REGISTER, "username", {}, "x"),
                    Element(ns.REGISTER, "password", {}, "correct horse"))),
    ("set", Element(ns.REGISTER, "query", {}, _form(_FIELD))),
    ("set", Element(ns.BIND, "bind", {}, Element(ns.BIND, "resource", {}, "x"))),
    ("set", Element(ns.SESSION, "session")),
]  # fmt: skip
VALUES = ("", "@@@", "\u202e", "x" * 5000, "-1", "NaN", "9" * 400)


def spoilt(payload: Element) -> Iterator[Element]:
    """Each attribute dropped or changed, each child dropped, doubled, emptied or in another namespace; also inside."""
    for key in list(payload.attrs):
        for value in (None, *VALUES):
            copy = payload.copy()
            if value is None:
                del copy.attrs[key]
            else:
                copy.attrs[key] = value
            yield copy
    yield Element(payload.ns, payload.name, {**payload.attrs, "odd": "1"}, "text", *payload.children)
    for at, child in enumerate(payload.children):
        others = [payload.children[:at], payload.children[at + 1 :]]
        variants: list[list[Element | str]] = [[], [child, child]]
        if isinstance(child, Element):
            variants += [[Element(child.ns, child.name)], [Element("urn:example:other", child.name)]]
            variants += [[inner] for inner in spoilt(child)]
        else:
            variants += [[value] for value in VALUES]
            variants.append([Element(payload.ns, "x")])
        for variant in variants:
            yield Element(payload.ns, payload.name, dict(payload.attrs), *others[0], *variant, *others[1])


@pytest.mark.attack("X14")
@pytest.mark.parametrize("at", range(len(GOOD)), ids=[f"{kind} {each.name} {each.ns}" for kind, each in GOOD])
def test_spoiltRequests(clients: Clients, at: int) -> None:
    """X14: each is answered once, with a result or an error that has a condition; nothing is silent, nothing breaks."""
    kind, good = GOOD[at]
    client = clients(presence=False)
    own = client.jid.partition("/")[0]
    asked: dict[str, bytes] = {}
    for payload in (good, *spoilt(good)):
        for type in (kind, "set" if kind == "get" else "get"):
            for to in ("", f" to='{DOMAIN}'", f" to='{own}'"):
                id = f"s{len(asked)}"
                asked[id] = serialize(payload)
                client.send(f"<iq type='{type}' id='{id}'{to}>".encode() + asked[id] + b"</iq>")
    begun = time.monotonic()
    stanzas: list[Element] = []
    # What is written is answered when it is committed, behind what was asked later.
    while len(stanzas) < len(asked) and time.monotonic() < begun + PATIENCE:
        stanzas += [item for item in client.stanzas() if item.get("type") in ("result", "error")]
    answered = [stanza.get("id") or "" for stanza in stanzas]
    missing = [asked[id] for id in asked if id not in answered]
    assert not missing and len(answered) == len(asked), missing[:3]
    for stanza in stanzas:
        if stanza.get("type") == "error":
            error = stanza.find(ns.CLIENT, "error")
            assert error is not None and error.get("type") in ("auth", "cancel", "modify", "wait")
            assert [child for child in error.elements() if child.ns == ns.STANZA_ERRORS]
    print(f"X14: {len(asked)} requests, the last answered after {time.monotonic() - begun:.2f} s")


# -- D12 -----------------------------------------------------------------------------------------

SIZE = 65536
WORST = {
    "one letter": "a" * SIZE,
    "dots": "." * SIZE,
    "labels": "a." * (SIZE // 2),
    "signs": "@" * SIZE,
    "slashes": "/" * SIZE,
    "combining marks": "a" + "\u0301\u0316" * (SIZE // 4),
    "what grows eighteenfold": "\ufdfa" * (SIZE // 3),
    "joiners": "\u200d" * (SIZE // 3),
    "right to left": "\u05d0a" * (SIZE // 3),
    "full width": "\uff41" * (SIZE // 3),
    "a long label of another script": "xn--" + "a" * SIZE,
    "brackets": "[" + ":" * SIZE,
    "base64 that fails at its end": "A" * (SIZE - 1) + "@",
}


def _base64(text: str) -> None:
    decodeBase64(text)


VALIDATORS: dict[str, Callable[[str], object]] = {
    "a bare address": JID.parse,
    "a local part": lambda text: JID.parse(f"{text}@{DOMAIN}"),
    "a domain": lambda text: JID.parse(f"a@{text}"),
    "a resource": lambda text: JID.parse(f"a@{DOMAIN}/{text}"),
    "base64": _base64,
}


@pytest.mark.own("calls our validators")
@pytest.mark.attack("D12")
@pytest.mark.parametrize("validator", VALIDATORS)
def test_worstStrings(validator: str) -> None:
    """64 KiB of the worst, and as much of it as an address may have, take some milliseconds at most."""
    for name, worst in WORST.items():
        for text in (worst, worst.encode()[:1022].decode(errors="ignore")):
            took = min(_seconds(VALIDATORS[validator], text) for _ in range(3))
            print(f"D12: {validator}, {name}, {len(text)} characters: {took * 1000:.2f} ms")
            assert took < 0.1, f"{name}: {took}"


def _seconds(validate: Callable[[str], object], text: str) -> float:
    begun = time.thread_time()
    with contextlib.suppress(InvalidJID, ValueError, SASLFailure):
        validate(text)
    return time.thread_time() - begun
