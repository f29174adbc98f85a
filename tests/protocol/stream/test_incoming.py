"""Streams that other servers open: every state against every input, headers, TLS, EXTERNAL, dialback, bidi."""

from __future__ import annotations

import base64

import pytest

from tests.protocol.stream.test_machine import assertFailed, kinds, sent
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State
from xmppservice.protocol.stream.incoming import FAULTS, TABLE, IncomingMachine, Input
from xmppservice.protocol.stream.roles import OPTIONAL, REQUIRED
from xmppservice.protocol.stream.s2s import Policy, Verdict
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import ParseError, StreamEnd, StreamHeader

OURS, THEIRS, DENIED = "ours.example", "theirs.example", "denied.example"
GOOD, BAD = Verdict(True, "pkix"), Verdict(False, reason="self-signed certificate")


def header(
    to: str | None = OURS, sender: str | None = THEIRS, version: str = "1.0", content: str = ns.SERVER
) -> StreamHeader:
    """A header of another server."""
    attrs = {"version": version, **({} if to is None else {"to": to}), **({} if sender is None else {"from": sender})}
    return StreamHeader(ns.STREAM, "stream", attrs, content, "", {"stream": ns.STREAM, "db": ns.DIALBACK})


def machine(tls: str = REQUIRED, **more: bool) -> IncomingMachine:
    """A fresh one."""
    policy = Policy(tls, **more)  # type: ignore[arg-type]
    ours = (OURS, "rooms." + OURS)
    return IncomingMachine(lambda domain: domain in ours, lambda domain: domain != DENIED, OURS, policy)


def offered(verdict: Verdict | None = GOOD, **more: bool) -> tuple[IncomingMachine, str]:
    """One whose features are out after TLS, and those."""
    stream = machine(**more)
    stream.secured()
    asks = stream.receive(header())
    assert kinds(asks) == ["Judge"] and stream.state is State.DECIDING
    assert verdict is not None
    return stream, sent(stream.judged(verdict))


def auth(data: bytes | None = b"", mechanism: str = "EXTERNAL") -> Element:
    """A SASL request."""
    text = [] if data is None else [base64.b64encode(data).decode() or "="]
    return Element(ns.SASL, "auth", {"mechanism": mechanism}, *text)


def dialback(name: str = "result", **more: str) -> Element:
    """An element of dialback."""
    attrs = {"from": THEIRS, "to": OURS, **({"id": "1"} if name == "verify" else {}), **more}
    return Element(ns.DIALBACK, name, attrs, "key")


ITEMS = {
    Input.HEADER: header(),
    Input.STARTTLS: Element(ns.TLS, "starttls"),
    Input.AUTH: auth(),
    Input.RESPONSE: Element(ns.SASL, "response", None, "="),
    Input.ABORT: Element(ns.SASL, "abort"),
    Input.DIALBACK: dialback(),
    Input.BIDI: Element(ns.BIDI, "bidi"),
    Input.STANZA: Element(ns.CLIENT, "message", {"from": f"a@{THEIRS}", "to": f"b@{OURS}"}),
    Input.UNKNOWN: Element("urn:x", "y"),
    Input.END: StreamEnd(),
    Input.ERROR: ParseError("not-well-formed", ""),
}

OUTCOMES = {
    State.OPENING: {Input.HEADER: State.DECIDING},
    State.OFFERED: {
        Input.AUTH: State.REOPENING, Input.DIALBACK: State.BOUND, Input.BIDI: State.OFFERED,
        # TLS is there already.
        Input.STARTTLS: State.CLOSED,
    },
    State.CHALLENGED: {Input.AUTH: State.REOPENING, Input.RESPONSE: State.REOPENING, Input.ABORT: State.OFFERED},
    State.REOPENING: {Input.HEADER: State.BOUND},
}  # fmt: skip
"""What each state makes of each input, on a secure stream with a good certificate; CLOSED for all others."""


def _in(state: State) -> IncomingMachine:
    """A secure stream in some state."""
    if state is State.OPENING:
        stream = machine()
        stream.secured()
        return stream
    stream, _ = offered()
    if state is State.CHALLENGED:
        stream.receive(auth(None))
    elif state is State.REOPENING:
        stream.receive(auth())
    assert stream.state is state
    return stream


@pytest.mark.parametrize("state", list(TABLE))
@pytest.mark.parametrize("kind", list(Input))
def test_everyCell(state: State, kind: Input) -> None:
    """No state × input is left to chance; what is a fault ends the stream."""
    item = ITEMS[kind]
    assert IncomingMachine.classify(item) is kind
    stream = _in(state)
    asks = stream.receive(item)
    assert stream.state is OUTCOMES[state].get(kind, State.CLOSED)
    if kind not in TABLE[state]:
        assert kind in FAULTS and kinds(asks)[-1:] == ["Close"]


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        (header(to=None), "host-unknown"),
        (header(to="other.example"), "host-unknown"),
        (header(to="a@b"), "improper-addressing"),
        (header(sender="a@b"), "improper-addressing"),
        (header(sender=OURS), "invalid-from"),
        (header(sender="Rooms.Ours.Example."), "invalid-from"),
        (header(sender=DENIED), "policy-violation"),
        (header(version="0.9"), "unsupported-version"),
        (header(content=ns.CLIENT), "invalid-namespace"),
        (header(content="jabber:foo"), "invalid-namespace"),
    ],
)
def test_headersThatAreRefused(given: StreamHeader, condition: str) -> None:
    """RFC 6120 4.7, 4.9.3; our header goes out first, with the domain that was asked for if it is ours."""
    asks = machine().receive(given)
    assert sent(asks).startswith("<?xml version='1.0'?><stream:stream xmlns='jabber:server'")
    assertFailed(asks, condition)


def test_headersAreAnswered() -> None:
    """From, to, an id of each header's own, and the namespace of dialback (XEP-0220 2.4.1)."""
    stream = machine()
    text = sent(stream.receive(header()))
    namespace = "xmlns:db='jabber:server:dialback'"
    for part in (f"from='{OURS}'", f"to='{THEIRS}'", namespace, "version='1.0'", f"id='{stream.id}'"):
        assert part in text
    first = stream.id
    stream.receive(ITEMS[Input.STARTTLS])
    stream.secured()
    stream.receive(header())
    stream.judged(GOOD)
    assert stream.id != first


def test_onlyTLSBeforeTLS() -> None:
    """RFC 7590 3: nothing else is offered, nothing else is taken."""
    stream = machine()
    text = sent(stream.receive(header()))
    assert "<starttls" in text and "<required" in text
    assert "mechanisms" not in text and "dialback xmlns" not in text and "bidi" not in text
    assert "<encryption-required" in sent(stream.receive(auth()))
    refusal = sent(stream.receive(dialback()))
    assert "type='error'" in refusal and "<policy-violation" in refusal and stream.state is State.OFFERED
    assertFailed(stream.receive(ITEMS[Input.STANZA]), "not-authorized")


def test_triesAreCounted() -> None:
    """Whoever goes on without TLS is not heard for ever."""
    stream = machine()
    stream.receive(header())
    for _ in range(4):
        stream.receive(dialback())
    assert kinds(stream.receive(dialback()))[-1:] == ["Close"]
    answering = machine()
    answering.receive(header())
    assertFailed(answering.receive(dialback(type="valid")), "not-authorized")


def test_optionalTLS() -> None:
    """Where the operator allows it, dialback works without."""
    stream = machine(OPTIONAL)
    text = sent(stream.receive(header()))
    assert "<starttls" in text and "<required" not in text and "urn:xmpp:features:dialback" in text
    assert "bidi" not in text
    assert kinds(stream.receive(dialback())) == ["Attach"]


def test_startTLS() -> None:
    """RFC 6120 5.4.2: what is in the element makes it malformed; afterwards everything begins anew."""
    stream = machine()
    stream.receive(header())
    assert kinds(stream.receive(Element(ns.TLS, "starttls"))) == ["StartTLS"]
    full = machine()
    full.receive(header())
    refusal = sent(full.receive(Element(ns.TLS, "starttls", None, "x")))
    assert "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'" in refusal
    stream.secured()
    assertFailed(stream.receive(header(to="rooms." + OURS)), "host-unknown")


@pytest.mark.parametrize(("verdict", "external"), [(GOOD, True), (BAD, False)])
def test_externalForValidCertificatesOnly(verdict: Verdict, external: bool) -> None:
    """XEP-0178 section 3, step 9."""
    stream, text = offered(verdict)
    assert ("EXTERNAL" in text) is external
    assert "urn:xmpp:features:dialback" in text and "<errors" in text and "urn:xmpp:features:bidi" in text
    answer = sent(stream.receive(auth(THEIRS.encode())))
    assert ("<success" in answer) is external
    assert ("<invalid-mechanism" in answer) is not external


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", "success"),
        (THEIRS.encode(), "success"),
        (b"Theirs.Example", "success"),
        (b"other.example", "invalid-authzid"),
        (OURS.encode(), "invalid-authzid"),
        (b"a@" + THEIRS.encode(), "invalid-authzid"),
        (b"\xff", "invalid-authzid"),
    ],
)
def test_authorizationIdentity(data: bytes, answer: str) -> None:
    """Nobody but the 'from' of the header, in either form of the exchange."""
    assert f"<{answer}" in sent(offered()[0].receive(auth(data)))
    stream, _ = offered()
    assert "<challenge" in sent(stream.receive(auth(None)))
    response = Element(ns.SASL, "response", None, base64.b64encode(data).decode() or "=")
    assert f"<{answer}" in sent(stream.receive(response))


def test_noSender() -> None:
    """Without 'from' there is nobody to judge a certificate for: dialback only (XEP-0220)."""
    stream = machine()
    stream.secured()
    text = sent(stream.receive(header(sender=None)))
    assert "EXTERNAL" not in text and "to=" not in text.split(">")[1]
    assert "<invalid-mechanism" in sent(stream.receive(auth(OURS.encode())))


def test_afterAuthentication() -> None:
    """A new header, from and to the same, and the link."""
    stream = _in(State.REOPENING)
    asks = stream.receive(header(sender=None))
    assert kinds(asks) == ["Attach"] and stream.authenticated and stream.remote == THEIRS
    assert "urn:xmpp:sm:3" in sent(asks) and "mechanisms" not in sent(asks)
    assertFailed(_in(State.REOPENING).receive(header(sender="other.example")), "not-authorized")
    assertFailed(_in(State.REOPENING).receive(header(to="rooms." + OURS)), "not-authorized")


def test_bidi() -> None:
    """XEP-0288: wanted before authentication, over TLS, where it is offered."""
    stream, _ = offered()
    assert not stream.bidi and stream.receive(ITEMS[Input.BIDI]) == [] and stream.bidi
    refusing, text = offered(bidi=False)
    assert "bidi" not in text
    assertFailed(refusing.receive(ITEMS[Input.BIDI]), "unsupported-stanza-type")
    plain = machine(OPTIONAL)
    plain.receive(header())
    assertFailed(plain.receive(ITEMS[Input.BIDI]), "unsupported-stanza-type")


def test_firstElementGoesToTheLink() -> None:
    """What began the dialback is not lost."""
    asks = offered()[0].receive(dialback("verify"))
    assert len(asks) == 1 and isinstance(asks[0], events.Attach) and asks[0].first == dialback("verify")


def test_deadAfterAnError() -> None:
    """A closed machine says nothing more, and asks of answers that come late have no effect."""
    stream = machine()
    stream.secured()
    stream.receive(header())
    stream.fail(StreamError("connection-timeout"))
    assert stream.receive(header()) == [] and stream.judged(GOOD) == []
