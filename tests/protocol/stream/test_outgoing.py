"""Streams that we open to other servers: every state against every input, and each way to the link."""

from __future__ import annotations

import base64

import pytest

from tests.protocol.stream.test_machine import assertFailed, kinds, sent
from xmppservice.protocol.stream.base import State
from xmppservice.protocol.stream.outgoing import FAULTS, TABLE, Input, OutgoingMachine, describe
from xmppservice.protocol.stream.roles import OPTIONAL, REQUIRED
from xmppservice.protocol.stream.s2s import Policy, Verdict
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import ParseError, StreamEnd, StreamHeader

OURS, THEIRS = "ours.example", "theirs.example"
GOOD, BAD = Verdict(True, "pkix"), Verdict(False, reason="self-signed certificate")

STARTTLS = Element(ns.TLS, "starttls")
DIALBACK = Element(ns.DIALBACK_FEATURE, "dialback")
BIDI = Element(ns.BIDI_FEATURE, "bidi")
SM = Element(ns.SM, "sm")
EXTERNAL = Element(ns.SASL, "mechanisms", None, Element(ns.SASL, "mechanism", None, "EXTERNAL"))


def header(id: str = "s1", dialback: bool = True, version: str = "1.0") -> StreamHeader:
    """Their answer."""
    prefixes = {"stream": ns.STREAM, **({"db": ns.DIALBACK} if dialback else {})}
    return StreamHeader(ns.STREAM, "stream", {"id": id, "from": THEIRS, "version": version}, ns.SERVER, "", prefixes)


def features(*children: Element) -> Element:
    """Their features."""
    return Element(ns.STREAM, "features", None, *children)


def machine(certified: bool = True, tls: str = REQUIRED, dialback: bool = False) -> OutgoingMachine:
    """One that has spoken."""
    stream = OutgoingMachine(OURS, THEIRS, Policy(tls, dialback), certified)
    assert f"from='{OURS}' to='{THEIRS}'" in sent(stream.start())
    return stream


def secured(verdict: Verdict = GOOD, certified: bool = True, dialback: bool = False) -> OutgoingMachine:
    """One that waits for features after TLS."""
    stream = machine(certified, dialback=dialback)
    stream.receive(header("first"))
    stream.receive(features(STARTTLS))
    assert kinds(stream.receive(Element(ns.TLS, "proceed"))) == ["BeginTLS"]
    assert "<stream:stream" in sent(stream.secured())
    assert kinds(stream.receive(header())) == ["Judge"]
    stream.judged(verdict)
    return stream


ITEMS = {
    Input.HEADER: header(),
    Input.FEATURES: features(DIALBACK),
    Input.PROCEED: Element(ns.TLS, "proceed"),
    Input.NO_TLS: Element(ns.TLS, "failure"),
    Input.CHALLENGE: Element(ns.SASL, "challenge"),
    Input.SUCCESS: Element(ns.SASL, "success"),
    Input.FAILURE: Element(ns.SASL, "failure", None, Element(ns.SASL, "not-authorized")),
    Input.REFUSED: Element(ns.STREAM, "error", None, Element(ns.STREAM_ERRORS, "host-unknown")),
    Input.UNKNOWN: Element("urn:x", "y"),
    Input.END: StreamEnd(),
    Input.ERROR: ParseError("not-well-formed", ""),
}

OUTCOMES = {
    State.OPENING: {Input.HEADER: State.OFFERED},
    State.OFFERED: {Input.FEATURES: State.BOUND},
    State.SECURING: {Input.PROCEED: State.SECURING},
    State.CHALLENGED: {
        Input.CHALLENGE: State.CHALLENGED, Input.SUCCESS: State.REOPENING, Input.FAILURE: State.BOUND,
    },
    State.REOPENING: {Input.HEADER: State.BINDING},
    State.BINDING: {Input.FEATURES: State.BOUND},
}  # fmt: skip
"""What each state makes of each input; CLOSED for all others."""


def _in(state: State) -> OutgoingMachine:
    if state in (State.OPENING, State.SECURING):
        stream = machine()
        if state is State.SECURING:
            stream.receive(header())
            stream.receive(features(STARTTLS))
    else:
        stream = secured()
        for item in {
            State.OFFERED: [],
            State.CHALLENGED: [features(EXTERNAL, DIALBACK)],
            State.REOPENING: [features(EXTERNAL), ITEMS[Input.SUCCESS]],
            State.BINDING: [features(EXTERNAL), ITEMS[Input.SUCCESS], header("s2")],
        }[state]:
            stream.receive(item)
    assert stream.state is state
    return stream


@pytest.mark.parametrize("state", list(TABLE))
@pytest.mark.parametrize("kind", list(Input))
def test_everyCell(state: State, kind: Input) -> None:
    """No state × input is left to chance; whatever ends a stream leaves a reason."""
    assert OutgoingMachine.classify(ITEMS[kind]) is kind
    stream = _in(state)
    asks = stream.receive(ITEMS[kind])
    assert stream.state is OUTCOMES[state].get(kind, State.CLOSED)
    if stream.state is State.CLOSED:
        assert kinds(asks) == ["Close"] and stream.reason
    if kind not in TABLE[state]:
        assert kind in FAULTS


def test_external() -> None:
    """XEP-0178: our name in base64, a new stream, and the link; the id for dialback is that of the last header."""
    stream = secured()
    text = sent(stream.receive(features(EXTERNAL, DIALBACK, BIDI)))
    assert text.index("<bidi xmlns='urn:xmpp:bidi'/>") < text.index("<auth ")
    assert base64.b64encode(OURS.encode()).decode() in text
    asks = stream.receive(Element(ns.SASL, "success"))
    assert kinds(asks) == ["Restart"] and "<stream:stream" in sent(asks)
    stream.receive(header("s2"))
    assert kinds(stream.receive(features(SM, DIALBACK))) == ["Attach"]
    assert stream.id == "s2"
    assert stream.authenticated and stream.bidi and stream.management and stream.dialback


def test_challenge() -> None:
    """A server that wants to hear it again hears it again."""
    stream = secured()
    stream.receive(features(EXTERNAL))
    assert base64.b64encode(OURS.encode()).decode() in sent(stream.receive(Element(ns.SASL, "challenge")))


def test_dialbackWhereExternalIsNot() -> None:
    """Not offered, refused, or no certificate of ours: the link proves pairs by dialback."""
    stream = secured()
    asks = stream.receive(features(DIALBACK, BIDI))
    assert kinds(asks) == ["Attach"] and "<bidi" in sent(asks) and not stream.authenticated
    refused = secured()
    refused.receive(features(EXTERNAL, DIALBACK, BIDI))
    asks = refused.receive(ITEMS[Input.FAILURE])
    assert kinds(asks) == ["Attach"] and "<bidi" not in sent(asks)
    assert "not-authorized" in refused.reason
    bare = secured(certified=False)
    assert kinds(bare.receive(features(EXTERNAL, DIALBACK))) == ["Attach"]
    # Declared in the header only, as servers before XEP-0220 do.
    assert kinds(secured().receive(features())) == ["Attach"]


def test_noWayToAuthenticate() -> None:
    """Neither of the two: the stream is of no use."""
    stream = machine(tls=OPTIONAL, dialback=True)
    stream.receive(header(dialback=False))
    assertFailed(stream.receive(features()), "unsupported-feature")
    assert "no way to authenticate" in stream.reason


@pytest.mark.parametrize(("dialback", "state"), [(False, State.CLOSED), (True, State.OFFERED)])
def test_badCertificate(dialback: bool, state: State) -> None:
    """Only where dialback suffices is a server spoken to that cannot prove its name (RFC 6120 13.7.2)."""
    stream = secured(BAD, dialback=dialback)
    assert stream.state is state
    if not dialback:
        assert "self-signed" in stream.reason
        return
    stream.receive(features(DIALBACK, BIDI))
    assert stream.bidi


def test_strippedTLS() -> None:
    """Hardening T03: no plain text, unless the operator allows it, and wants no certificate either."""
    for stream in (machine(), machine(dialback=True), machine(tls=OPTIONAL)):
        stream.receive(header())
        asks = stream.receive(features(DIALBACK))
        assertFailed(asks, "policy-violation")
        assert "no encryption" in stream.reason
    trusting = machine(tls=OPTIONAL, dialback=True)
    trusting.receive(header())
    assert kinds(trusting.receive(features(DIALBACK, BIDI))) == ["Attach"]
    assert not trusting.bidi


def test_whatWasSaidBeforeTLSIsForgotten() -> None:
    """Offers of the plain stream may be anybody's."""
    stream = machine()
    stream.receive(header("first"))
    stream.receive(features(STARTTLS, DIALBACK, SM))
    stream.receive(Element(ns.TLS, "proceed"))
    stream.secured()
    assert not stream.dialback and not stream.management
    stream.receive(header(dialback=False))
    stream.judged(GOOD)
    assertFailed(stream.receive(features()), "unsupported-feature")


def test_oldServers() -> None:
    """RFC 3920's predecessors have no version, no features and no TLS."""
    assertFailed(machine().receive(header(version="")), "unsupported-version")


def test_reasonsAreBounded() -> None:
    """What a stream error says is the peer's; people read it."""
    error = Element(ns.STREAM, "error", None, Element(ns.STREAM_ERRORS, "x" * 500), Element("urn:app", "why"))
    error.child(ns.STREAM_ERRORS, "text", text="go away")
    assert len(describe(error)) == 200
    assert describe(Element(ns.STREAM, "error")) == "no reason given"
    stream = machine()
    stream.receive(ITEMS[Input.REFUSED])
    assert "host-unknown" in stream.reason


@pytest.mark.parametrize(
    ("text", "largest"), [("262144", 262144), ("10", 10_000), ("", 0), ("many", 0), ("9" * 20, 0), ("-1", 0)]
)
def test_largestStanza(text: str, largest: int) -> None:
    """XEP-0478, in the features after authentication; no server may say less than 10,000 (RFC 6120 13.12)."""
    stream = _in(State.BINDING)
    limits = Element(ns.LIMITS, "limits")
    limits.child(ns.LIMITS, "max-bytes", text=text)
    stream.receive(features(limits))
    assert stream.largest == largest
