"""A stream that we open to another server, until it has its link (RFC 6120 4-6; XEP-0178, XEP-0220, XEP-0288).

Theory of operation. We speak first: `start` gives our header. What comes back is a header, then features; each step
that follows from them (STARTTLS, EXTERNAL) ends in a new header and new features, until nothing is left to negotiate.
Where EXTERNAL is not offered, or refused, the stream gets its link all the same, if the other server speaks dialback:
the link proves one pair of domains after the other (`hub.federation`).

What goes wrong is not our fault and not answered by more than a stream error; `reason` says it to people.
"""

from __future__ import annotations

from enum import Enum, auto

from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.sasl.encoding import encodeSuccess
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State, TableMachine, checkHeader
from xmppservice.protocol.stream.events import Ask
from xmppservice.protocol.stream.roles import REQUIRED
from xmppservice.protocol.stream.s2s import EXTERNAL, NO_CERTIFICATE, Policy, Verdict, headerAttributes
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import ParseError, StreamHeader
from xmppservice.wire.serializer import serialize


class Input(Enum):
    """What can arrive."""

    HEADER = auto()
    FEATURES = auto()
    PROCEED = auto()
    NO_TLS = auto()
    CHALLENGE = auto()
    SUCCESS = auto()
    FAILURE = auto()
    REFUSED = auto()
    UNKNOWN = auto()
    END = auto()
    ERROR = auto()


_INPUTS = {
    (ns.STREAM, "features"): Input.FEATURES,
    (ns.STREAM, "error"): Input.REFUSED,
    (ns.TLS, "proceed"): Input.PROCEED,
    (ns.TLS, "failure"): Input.NO_TLS,
    (ns.SASL, "challenge"): Input.CHALLENGE,
    (ns.SASL, "success"): Input.SUCCESS,
    (ns.SASL, "failure"): Input.FAILURE,
}

TABLE: dict[State, dict[Input, str]] = {
    State.OPENING: {Input.HEADER: "_opened"},
    State.OFFERED: {Input.FEATURES: "_features"},
    State.SECURING: {Input.PROCEED: "_proceed", Input.NO_TLS: "_noTLS"},
    State.CHALLENGED: {Input.CHALLENGE: "_answerChallenge", Input.SUCCESS: "_success", Input.FAILURE: "_saslFailed"},
    State.REOPENING: {Input.HEADER: "_opened"},
    State.BINDING: {Input.FEATURES: "_lastFeatures"},
}
"""State × input → the method that takes it. OFFERED and BINDING wait for features, SECURING for ``<proceed/>``,
CHALLENGED for the outcome of EXTERNAL. Whatever is not here is in `FAULTS`."""

FAULTS: dict[Input, str] = {
    Input.HEADER: "_secondHeader",
    Input.FEATURES: "_outOfPlace",
    Input.PROCEED: "_outOfPlace",
    Input.NO_TLS: "_outOfPlace",
    Input.CHALLENGE: "_outOfPlace",
    Input.SUCCESS: "_outOfPlace",
    Input.FAILURE: "_outOfPlace",
    Input.REFUSED: "_refused",
    Input.UNKNOWN: "_outOfPlace",
    Input.END: "_end",
    Input.ERROR: "_parseError",
}
"""Input → what is done with it in states that do not expect it."""


class OutgoingMachine(TableMachine):
    """One stream from `local`, which is ours, to `remote`, until it has its link.

    `certified`: whether we can show a certificate. `id` is that of the other server's header: keys of dialback are made
    for it. `authenticated`: the other server has accepted our certificate for `local`.
    """

    kinds, inputs, table, faults = Input, _INPUTS, TABLE, FAULTS

    __slots__ = (
        "_certified", "_challenged", "_policy", "_tried", "authenticated", "bidi", "dialback", "largest", "local",
        "management", "reason", "remote", "verdict",
    )  # fmt: skip

    def __init__(self, local: str, remote: str, policy: Policy, certified: bool) -> None:
        super().__init__()
        self.local, self.remote = local, remote
        self._policy = policy
        self._certified = certified
        self._tried = self._challenged = False
        self.authenticated = False
        #: What the other server offers, and we have taken up: both directions, dialback, XEP-0198.
        self.bidi = self.dialback = self.management = False
        self.verdict = NO_CERTIFICATE
        #: Bytes of the largest stanza that the other server says it takes (XEP-0478), 0 if it says nothing.
        self.largest = 0
        self.reason = ""

    def start(self) -> list[Ask]:
        """Our header: the connection is up, or TLS is."""
        self.state = State.REOPENING if self.authenticated else State.OPENING
        return [events.Send(self._header(None))]

    def _header(self, header: StreamHeader | None) -> bytes:
        self._headerSent = True
        return self._framing.header(ns.SERVER, headerAttributes(self.local, self.remote))

    def fail(self, error: StreamError, header: StreamHeader | None = None) -> list[Ask]:
        """See `StreamBase.fail`; also remembers the reason."""
        self.reason = self.reason or str(error)
        return super().fail(error, header)

    # -- headers and features ---------------------------------------------------------------

    def _opened(self, header: StreamHeader) -> list[Ask]:
        """Their header. A server that speaks no XMPP 1.0 has no TLS either."""
        try:
            checkHeader(header, ns.SERVER)
        except StreamError as error:
            return self.fail(error)
        self.id = header.attrs.get("id", "")
        self.dialback = ns.DIALBACK in header.prefixes.values()
        if self.state is State.REOPENING:
            self.state = State.BINDING
            return []
        if not self.secure:
            self.state = State.OFFERED
            return []
        self.state = State.DECIDING
        return [events.Judge(self.remote)]

    def judged(self, verdict: Verdict) -> list[Ask]:
        """Answer `Judge`: what the other server's certificate is worth."""
        if self.state is State.CLOSED:
            return []
        self.verdict = verdict
        if not verdict.valid and not self._policy.dialback:
            self.reason = f"its certificate is not accepted: {verdict.reason}"
            return self.fail(StreamError("policy-violation", self.reason))
        self.state = State.OFFERED
        return []

    def _features(self, features: Element) -> list[Ask]:
        """TLS first, then EXTERNAL, then dialback."""
        if not self.secure:
            if features.find(ns.TLS, "starttls") is not None:
                self.state = State.SECURING
                return [events.Send(serialize(Element(ns.TLS, "starttls")))]
            if self._policy.tls == REQUIRED or not self._policy.dialback:
                # Hardening T03: somebody may have taken the offer away. Nor is there a certificate without it.
                return self.fail(StreamError("policy-violation", "it offers no encryption"))
        self._note(features)
        if self._offersExternal(features):
            return self._authenticate()
        return self._finish()

    def _note(self, features: Element) -> None:
        """What they offer beside authentication."""
        if features.find(ns.DIALBACK_FEATURE, "dialback") is not None:
            self.dialback = True
        self.management = self._policy.management and features.find(ns.SM, "sm") is not None
        if self.secure and self._policy.bidi and features.find(ns.BIDI_FEATURE, "bidi") is not None:
            # Without a name in a certificate all that we know of the peer is where DNS has sent us.
            self.bidi = self.verdict.valid or self._policy.dialback

    def _offersExternal(self, features: Element) -> bool:
        mechanisms = features.find(ns.SASL, "mechanisms")
        offered = [] if mechanisms is None else [each.text.strip() for each in mechanisms.elements()]
        return self._certified and self.secure and EXTERNAL in offered

    def _lastFeatures(self, features: Element) -> list[Ask]:
        """What is offered to us now that we are authenticated; both directions were settled before."""
        bidi = self.bidi
        self._note(features)
        self.bidi = bidi
        # Before authentication it is about what comes before.
        self.largest = _largest(features)
        self.state = State.BOUND
        return [events.Attach()]

    def _finish(self) -> list[Ask]:
        """Nothing more to negotiate: dialback has to do the rest."""
        if not self.dialback:
            why = "does not accept our certificate" if self._tried else "offers no way to authenticate"
            return self.fail(StreamError("unsupported-feature", f"it {why}, and no dialback"))
        self.state = State.BOUND
        return [*(self._askBidi() if not self._tried else []), events.Attach()]

    def _askBidi(self) -> list[Ask]:
        """XEP-0288 2.2: before SASL and before dialback."""
        return [events.Send(serialize(Element(ns.BIDI, "bidi")))] if self.bidi else []

    # -- TLS ------------------------------------------------------------------------------------

    def _proceed(self, element: Element) -> list[Ask]:
        return [events.BeginTLS()]

    def secured(self) -> list[Ask]:
        """TLS is being started, or the connection began with it: all that was said before is forgotten."""
        self.secure = True
        self.dialback = self.management = False
        return self.start()

    def _noTLS(self, element: Element) -> list[Ask]:
        return self.fail(StreamError("policy-violation", "it refuses the encryption that it has offered"))

    # -- SASL EXTERNAL ----------------------------------------------------------------------------

    def _authenticate(self) -> list[Ask]:
        """XEP-0178 section 3, step 10; with an authorization identity for the sake of older servers."""
        self._tried = True
        self.state = State.CHALLENGED
        return [*self._askBidi(), events.Send(self._sasl("auth", {"mechanism": EXTERNAL}))]

    def _sasl(self, name: str, attributes: dict[str, str] | None = None) -> bytes:
        element = Element(ns.SASL, name, attributes)
        element.children.append(encodeSuccess(self.local.encode()))
        return serialize(element)

    def _answerChallenge(self, element: Element) -> list[Ask]:
        """It did not take what we said first: say it again, but once (EXTERNAL is one message, RFC 4422 A)."""
        if self._challenged:
            return self.fail(StreamError("policy-violation", "EXTERNAL has no second challenge"))
        self._challenged = True
        return [events.Send(self._sasl("response"))]

    def _success(self, element: Element) -> list[Ask]:
        self.authenticated = True
        return [events.Restart(), *self.start()]

    def _saslFailed(self, element: Element) -> list[Ask]:
        """Our certificate is not enough for it; dialback may be (XEP-0178 section 3, step 11.2)."""
        self.reason = "it does not accept our certificate: " + ", ".join(each.name for each in element.elements())[:200]
        return self._finish()

    # -- what is wrong ------------------------------------------------------------------------------

    def _refused(self, element: Element) -> list[Ask]:
        """A stream error: the other server ends it, and so do we."""
        self.reason = f"it refused the stream: {describe(element)}"
        return self.close(expected=True)

    def _end(self, item: object) -> list[Ask]:
        self.reason = self.reason or "it closed the stream while it was negotiated"
        return super()._end(item)

    def _parseError(self, error: ParseError) -> list[Ask]:
        self.reason = f"what it sends is no XMPP: {error.condition}"
        return super()._parseError(error)

    def _outOfPlace(self, element: Element) -> list[Ask]:
        return self.fail(StreamError("unsupported-stanza-type", f"it sent <{element.name[:40]}/> out of place"))


def _largest(features: Element) -> int:
    """What the feature of XEP-0478 says, as far as it is a number that makes sense."""
    limits = features.find(ns.LIMITS, "limits")
    most = None if limits is None else limits.find(ns.LIMITS, "max-bytes")
    text = "" if most is None else most.text.strip()
    # No server may say less than that (RFC 6120 13.12).
    return max(10_000, int(text)) if text.isascii() and text.isdigit() and len(text) < 15 else 0


def describe(error: Element) -> str:
    """A stream error that we were sent, in a few words; they are the peer's and bounded."""
    words = [each.name for each in error.elements() if each.ns == ns.STREAM_ERRORS and each.name != "text"][:1]
    text = error.find(ns.STREAM_ERRORS, "text")
    if text is not None:
        words.append(text.text)
    return (": ".join(words) or "no reason given")[:200]
