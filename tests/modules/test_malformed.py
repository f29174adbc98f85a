"""Requests that are broken in every small way (hardening X13, X14).

Each sample is a request that is fine. From it come all the requests with one attribute or child
dropped, doubled, emptied, renamed or put into another namespace, with text and numbers of every
sort in each place. Whatever comes, there is one answer: a result, or an error that says what is
wrong; never silence, never a failure of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from tests.modules.administered import administered
from xmppservice.protocol.errors import STANZA_CONDITIONS
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.limits import AUTHENTICATED
from xmppservice.wire.parser import parseDocument

MODULES = (
    "disco", "caps", "ping", "version", "entity_time", "last_activity", "vcard", "private_xml", "contact_info",
    "register",
)  # fmt: skip
#: A fine request for each namespace and name that the modules serve.
SAMPLES = {
    "disco#info": "<query xmlns='http://jabber.org/protocol/disco#info' node='urn:xmppservice#x'/>",
    "disco#items": "<query xmlns='http://jabber.org/protocol/disco#items' node='n'/>",
    "ping": "<ping xmlns='urn:xmpp:ping'/>",
    "version": "<query xmlns='jabber:iq:version'><name>x</name></query>",
    "time": "<time xmlns='urn:xmpp:time'><tzo>Z</tzo><utc>2006-12-19T17:58:35Z</utc></time>",
    "last": "<query xmlns='jabber:iq:last' seconds='1'>words</query>",
    "vcard": "<vCard xmlns='vcard-temp' version='3.0'><FN>A</FN><N><GIVEN>B</GIVEN></N></vCard>",
    "private": "<query xmlns='jabber:iq:private'><a xmlns='urn:x' b='c'><d/></a><e xmlns='urn:y'/></query>",
    "register": "<query xmlns='jabber:iq:register'><username>alice</username><password>long enough</password></query>",
    "register-form": (
        "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>"
        "<field var='FORM_TYPE' type='hidden'><value>jabber:iq:register</value></field>"
        "<field var='username'><value>alice</value></field>"
        "<field var='password' type='text-private'><value>long enough</value></field></x></query>"
    ),
    "register-remove": "<query xmlns='jabber:iq:register'><remove/></query>",
}
TEXTS = (
    "", " ", "-1", "2147483648", "4294967296", "18446744073709551616", "1" + "0" * 308, "NaN", "\uff11\uff12",
    "1" * 50_000, "true", "@", "a@b", "\u202e\u0130\u00df", "<&>'\"",
)  # fmt: skip
#: Where requests go to.
TARGETS = (None, "localhost", "alice@localhost", "bob@localhost", "nobody@localhost", "localhost/r")


def places(root: Element) -> list[Element]:
    """All elements of a tree, the root first, always in the same order."""
    found = [root]
    for element in found:
        found += element.elements()
    return found


def changes(element: Element) -> Iterator[Callable[[Element], object]]:
    """All ways to break an element of which `element` is a copy."""
    for key in element.attrs:
        yield lambda e, key=key: e.attrs.pop(key)
        for text in TEXTS:
            yield lambda e, key=key, text=text: e.attrs.update({key: text})
    yield lambda e: e.attrs.update({"unknown": "x", ns.XML + " lang": "x" * 2000})
    for index in range(len(element.children)):
        yield lambda e, index=index: e.children.pop(index)
        yield lambda e, index=index: e.children.insert(index, e.children[index])
    for text in TEXTS:
        yield lambda e, text=text: e.children.__setitem__(slice(None), [text])
    yield lambda e: e.children.append(Element("urn:example:unknown", "unknown"))
    yield lambda e: e.children.append(Element(e.ns, e.name))
    yield lambda e: e.children.append(Element(ns.DATA, "x"))
    yield lambda e: e.children.append(Element(ns.REGISTER, "remove"))
    yield lambda e: e.children.clear()
    yield lambda e: e.children.reverse()
    yield lambda e: setattr(e, "name", "unknown")
    yield lambda e: setattr(e, "ns", "urn:example:unknown")
    yield lambda e: setattr(e, "ns", ns.CLIENT)


def broken(sample: str) -> Iterator[Element]:
    """The sample itself, and every request that differs from it in one place."""
    original = parseDocument(sample.encode(), AUTHENTICATED)
    yield original.copy()
    for index, place in enumerate(places(original)):
        for change in changes(place):
            damaged = original.copy()
            change(places(damaged)[index])
            yield damaged


@pytest.fixture
def failures() -> Iterator[list[LogEvent]]:
    """What is logged as a failure of ours while the test runs."""
    found: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            found.append(event)

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def check(answers: list[Element], request: Element) -> None:
    """One answer, a result or an error of a kind that blames the request."""
    answers = [answer for answer in answers if answer.name == "iq"]
    assert len(answers) == 1, (request, answers)
    [answer] = answers
    assert answer.get("id") == "broken"
    if answer.get("type") == "result":
        return
    error = answer.find(ns.CLIENT, "error")
    assert answer.get("type") == "error" and error is not None
    conditions = {each.name for each in error.elements() if each.ns == ns.STANZA_ERRORS} - {"text"}
    assert len(conditions) == 1 and conditions < set(STANZA_CONDITIONS), (request, conditions)
    assert not conditions & {"internal-server-error", "undefined-condition"}, (request, request.elements())


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize("name", SAMPLES)
def test_brokenRequests(name: str, kind: str, failures: list[LogEvent]) -> None:
    """Whatever a client sends, it gets one sensible answer, at the address of whomever it asks."""
    server = administered(MemoryServer(modules=MODULES, options={"register": {"changes": 4}}))
    server.account("bob")
    client = server.client("alice/phone", available=True)
    for request in broken(SAMPLES[name]):
        for target in TARGETS if len(places(request)) < 3 else TARGETS[:3]:
            attrs = {"type": kind, "id": "broken"} | ({} if target is None else {"to": target})
            client.send(Element(ns.CLIENT, "iq", attrs, request))
            check(client.take(), request)
            if client.stream.closed:
                # It was a good request to remove the account.
                client = server.client("alice/phone", available=True)
    assert failures == []


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith("register")])
def test_brokenRegistrations(name: str, kind: str, failures: list[LogEvent]) -> None:
    """So does a stranger who has not logged in."""
    server = administered(MemoryServer(modules=MODULES, options={"register": {"open": True, "attempts": 0}}))
    stream = server.client("somebody/1").stream
    for request in broken(SAMPLES[name]):
        answers: list[Element] = []
        iq = Element(ns.CLIENT, "iq", {"type": kind, "id": "broken"}, request)
        server.host.preAuth(iq, stream).addCallback(answers.append)
        check(answers, request)
    assert failures == []


def test_changesChange() -> None:
    """The ways to break a request do break it, in all places: there are many different ones."""
    for sample in SAMPLES.values():
        seen = {repr([(e.ns, e.name, e.attrs, e.text) for e in places(request)]) for request in broken(sample)}
        assert len(seen) > 20
