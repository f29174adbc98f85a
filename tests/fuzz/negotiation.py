"""A model of what a stream may do before it is bound, to be set against the real machine by Hypothesis."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.fuzz.examples import ROOMY
from xmppservice.protocol.errors import SASLFailure, StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.sasl.registry import MECHANISMS
from xmppservice.protocol.stanza import resultFor
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State
from xmppservice.protocol.stream.machine import StreamMachine
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.items import ParseError, StreamEnd, StreamHeader
from xmppservice.wire.parser import StreamParser

ALICE = JID.parse("alice@a.test")
_IQ = re.compile(rb"<iq\b[^>]*\bid='([^']*)'")
_COMPRESS = "http://jabber.org/protocol/compress"


class Facts:
    """A host as the machine sees it."""

    def __init__(self, name: str, tls: str) -> None:
        self.name, self.tls = name, tls
        self.mechanisms = tuple(MECHANISMS)

    def refusal(self, name: str, secure: bool) -> SASLFailure:
        """As a portal would have it."""
        return SASLFailure("invalid-mechanism")


def _attrs(*names: str) -> st.SearchStrategy[dict[str, str]]:
    values = st.sampled_from(["", "x", "1", "-1", "4294967296", "alice@a.test", "a.test", "get", "set", "result"])
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))


HEADERS = st.builds(
    lambda to, version, frm, content: StreamHeader(
        ns.STREAM, "stream", {k: v for k, v in (("to", to), ("version", version), ("from", frm)) if v}, content, "", {}
    ),
    st.sampled_from(["a.test"] * 8 + ["b.test", "x.test", "", "@"]), st.sampled_from(["1.0"] * 9 + ["", "0.9", "x"]),
    st.sampled_from([""] * 6 + ["alice@a.test", "bob@a.test", "@"]), st.sampled_from([ns.CLIENT] * 9 + [ns.SERVER]),
)  # fmt: skip
TEXTS = st.sampled_from(["", "=", "AGFsaWNlAHNlY3JldA==", "biwsbj1hbGljZSxyPWFiYw==", "biws", "****", "AA"])
STANZAS = st.builds(
    lambda name, attrs, child: Element(ns.CLIENT, name, attrs, *child),
    st.sampled_from(["message", "presence", "iq"]), _attrs("to", "from", "type", "id"),
    st.sampled_from([
        [], [Element(ns.REGISTER, "query")], [Element(ns.PING, "ping")], [Element(ns.BIND, "bind"), Element("x", "y")],
    ]),
)  # fmt: skip
OTHERS = st.sampled_from(
    [Element(ns.SM, name, {"h": "0", "previd": "p"}) for name in ("resume", "enable", "r", "a")]
    + [Element(_COMPRESS, "compress"), Element("urn:x", "y"), Element("urn:xmpp:sasl:2", "authenticate")]
    + [Element("jabber:server:dialback", "result"), Element(ns.SASL, "success"), Element(ns.STREAM, "features")]
)


class Negotiation(RuleBasedStateMachine):
    """Anything in any order, in and out of turn; `make` builds the machine under test."""

    make: ClassVar[Callable[..., StreamMachine]] = StreamMachine

    @initialize(policy=st.sampled_from(["required", "optional", "absent"]), stage=st.integers(0, 4))
    def begin(self, policy: str, stage: int) -> None:
        """A connection to a server with two hosts, and some of the way to a session."""
        hosts = {name: Facts(name, policy) for name in ("a.test", "b.test")}
        self.policy = policy
        self.machine = self.make(hosts.get, "a.test")
        self.secure = self.proven = self.over = self.headed = False
        self.failures = 0
        self.pending: Any = None
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.output = StreamParser(ROOMY)
        opening = StreamHeader(ns.STREAM, "stream", {"to": "a.test", "version": "1.0"}, ns.CLIENT, "", {})
        if stage > 0:
            self.header(opening)
        if stage > 1 and policy != "absent":
            self.startTLS([])
            self.answer(True)
            self.header(opening)
        if stage > 2:
            self.auth("ANONYMOUS", "")
            if self.pending is not None:
                self.answer(True)
        if stage > 3 and self.free():
            self.header(opening)

    # -- what comes of it ---------------------------------------------------------------------

    def take(self, asks: list[events.Ask]) -> None:
        """The machine has spoken: check it, and remember whose turn it is."""
        assert not (self.over and asks), "something behind the end of the stream"
        for number, ask in enumerate(asks):
            if isinstance(ask, events.Send):
                self.hear(ask.data)
            elif isinstance(ask, events.Close):
                assert number == len(asks) - 1, "something behind the end"
                self.over = True
            elif isinstance(ask, events.Restart):
                self.headed, self.output = False, StreamParser(ROOMY)
            else:
                self.due(ask)
        if self.over:
            assert self.machine.state is State.CLOSED

    def due(self, ask: events.Ask) -> None:
        """The machine wants something: is it the time for that?"""
        assert self.pending is None, "asks again before it was answered"
        unsafe = self.policy == "required" and not self.secure
        if isinstance(ask, events.StartTLS):
            assert not self.secure and not self.proven and self.policy != "absent"
            self.hear(ask.proceed)
        elif isinstance(ask, events.Login | events.FetchSecrets):
            assert not unsafe, "SASL before TLS where TLS is required"
            assert not self.proven, "SASL again"
        elif isinstance(ask, events.PreAuth):
            assert not unsafe and not self.proven
        else:
            assert self.proven and self.headed, f"{type(ask).__name__} before authentication"
        self.pending = ask

    def hear(self, data: bytes) -> None:
        """What is sent is XML, and answers each request once."""
        for id in _IQ.findall(data):
            self.answered.append(id.decode())
        for item, _ in self.output.feed(data):
            assert not isinstance(item, ParseError), (item, data)

    @invariant()
    def inOrder(self) -> None:
        """Nobody is bound who has not proved who he is; each request is answered once at most."""
        if not hasattr(self, "machine"):
            return
        assert self.machine.state is not State.BOUND or self.proven, "bound before authentication"
        assert self.machine.jid is None or self.proven
        for id in set(self.answered):
            assert self.answered.count(id) <= self.asked.count(id), f"answered too often: {id}"
        assert self.failures < 5 or self.over, "more tries than allowed"

    def free(self) -> bool:
        """Whether the machine may be given input now."""
        return self.pending is None and self.machine.state is not State.BOUND

    def give(self, item: object) -> None:
        """Input; the parser sees to it that the first is a header."""
        if isinstance(item, Element) and item.name == "iq":
            self.asked.append(item.attrs.get("id", ""))
        self.take(self.machine.receive(item))

    # -- the peer -----------------------------------------------------------------------------

    @precondition(lambda self: self.free() and not self.headed)
    @rule(header=HEADERS)
    def header(self, header: StreamHeader) -> None:
        """A stream begins."""
        self.headed = True
        self.give(header)

    @precondition(lambda self: self.free() and self.headed)
    @rule(children=st.sampled_from([[], ["x"]]))
    def startTLS(self, children: list[Element | str]) -> None:
        """RFC 6120 section 5."""
        self.give(Element(ns.TLS, "starttls", {}, *children))

    @precondition(lambda self: self.free() and self.headed)
    @rule(mechanism=st.sampled_from(["PLAIN", "ANONYMOUS", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "X", ""]), text=TEXTS)
    def auth(self, mechanism: str, text: str) -> None:
        """RFC 6120 6.4.2."""
        self.give(Element(ns.SASL, "auth", {"mechanism": mechanism}, text))

    @precondition(lambda self: self.free() and self.headed)
    @rule(times=st.integers(1, 6))
    def guess(self, times: int) -> None:
        """Passwords are tried."""
        for _ in range(times):
            if self.free() and not self.over:
                self.auth("PLAIN", "AGFsaWNlAHNlY3JldA==")
            if self.pending is not None:
                self.answer(False)

    @precondition(lambda self: self.free() and self.headed)
    @rule(name=st.sampled_from(["response", "abort"]), text=TEXTS)
    def respond(self, name: str, text: str) -> None:
        """RFC 6120 6.4.3, 6.4.4."""
        self.give(Element(ns.SASL, name, {}, text))

    @precondition(lambda self: self.free() and self.headed)
    @rule(stanza=STANZAS)
    def stanza(self, stanza: Element) -> None:
        """A stanza, too early."""
        self.give(stanza.copy())

    @precondition(lambda self: self.free() and self.headed)
    @rule(number=st.integers(0, 999), kind=st.sampled_from(["set", "set", "get"]))
    def bind(self, number: int, kind: str) -> None:
        """RFC 6120 section 7."""
        self.give(Element(ns.CLIENT, "iq", {"type": kind, "id": f"b{number}"}, Element(ns.BIND, "bind")))

    @precondition(lambda self: self.free() and self.headed)
    @rule(element=OTHERS)
    def other(self, element: Element) -> None:
        """Whatever else there is."""
        self.give(element.copy())

    @precondition(lambda self: self.free())
    @rule(end=st.booleans())
    def stop(self, end: bool) -> None:
        """The stream ends, or is no XML any more."""
        if end and self.headed:
            self.give(StreamEnd())
        elif not end:
            self.give(ParseError("not-well-formed", "x"))

    @precondition(lambda self: self.pending is None and self.machine.state is State.BOUND)
    @rule()
    def session(self) -> None:
        """Bound: what comes now is the session's. Without this rule the way would end here, which is an error."""
        assert self.proven and self.machine.jid is not None

    # -- the server ---------------------------------------------------------------------------

    @precondition(lambda self: self.pending is not None)
    @rule(well=st.booleans())
    def answer(self, well: bool) -> None:
        """What was asked for is there, or is refused."""
        ask, self.pending = self.pending, None
        answer: Callable[[Any, bool], list[events.Ask]] = getattr(self, f"on{type(ask).__name__}")
        self.take(answer(ask, well))

    def onStartTLS(self, ask: events.StartTLS, well: bool) -> list[events.Ask]:
        """The handshake."""
        self.machine.secured({"tls-exporter": b"x"})
        self.secure, self.headed, self.output = True, False, StreamParser(ROOMY)
        return []

    def onFetchSecrets(self, ask: events.FetchSecrets, well: bool) -> list[events.Ask]:
        """Salt and count."""
        return self.machine.secretsFetched(b"salt", 4096) if well else self.refuse()

    def onLogin(self, ask: events.Login, well: bool) -> list[events.Ask]:
        """The portal."""
        if not well:
            return self.refuse()
        # The proof of SCRAM, where there is one, was checked by a portal that we are now.
        if hasattr(ask.credentials, "serverSignature"):
            ask.credentials.serverSignature = b"s"
        self.proven = True
        return self.machine.loggedIn(ALICE)

    def refuse(self) -> list[events.Ask]:
        """Not this one."""
        self.failures += 1
        return self.machine.loginFailed(SASLFailure("not-authorized"))

    def onBind(self, ask: events.Bind, well: bool) -> list[events.Ask]:
        """A resource."""
        if well:
            return self.machine.bound(ALICE.withResource("x"))
        return self.machine.bindFailed(StanzaError("conflict"))

    def onResume(self, ask: events.Resume, well: bool) -> list[events.Ask]:
        """A former session."""
        return self.machine.resumed(ALICE.withResource("x")) if well else self.machine.resumeFailed("item-not-found")

    def onPreAuth(self, ask: events.PreAuth, well: bool) -> list[events.Ask]:
        """Registration."""
        return self.machine.preAuthAnswered(resultFor(ask.iq))
