"""A stream that another server has opened to us, until it has its link (RFC 6120 4-6; XEP-0178, XEP-0220, XEP-0288).

Theory of operation. The header says whom the peer wants to be. On a secure stream its certificate is judged for that
name before our features go out, so that EXTERNAL is offered to those only who can use it. Whoever authenticates opens
its stream anew and gets its link. Whoever speaks dialback instead gets its link with the first element of it: from
then on pairs of domains are a matter between links (`hub.federation`), and one stream may carry several.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from xmppservice.protocol.dialback import ERROR, Dialback
from xmppservice.protocol.errors import SASLFailure, StanzaError, StreamError
from xmppservice.protocol.jid import JID, InvalidJID, prepareDomain
from xmppservice.protocol.sasl.encoding import decodeBase64, initialResponse
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State, TableMachine, characters, checkHeader
from xmppservice.protocol.stream.events import Ask
from xmppservice.protocol.stream.roles import REQUIRED, limitsFeature, mechanismsFeature
from xmppservice.protocol.stream.s2s import (
    EXTERNAL,
    NO_CERTIFICATE,
    TRIES,
    Policy,
    Verdict,
    dialbackFeature,
    domainOf,
    headerAttributes,
)
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamHeader
from xmppservice.wire.serializer import serialize


class Input(Enum):
    """What can arrive."""

    HEADER = auto()
    STARTTLS = auto()
    AUTH = auto()
    RESPONSE = auto()
    ABORT = auto()
    DIALBACK = auto()
    BIDI = auto()
    STANZA = auto()
    UNKNOWN = auto()
    END = auto()
    ERROR = auto()


_INPUTS = {
    (ns.TLS, "starttls"): Input.STARTTLS,
    (ns.SASL, "auth"): Input.AUTH,
    (ns.SASL, "response"): Input.RESPONSE,
    (ns.SASL, "abort"): Input.ABORT,
    (ns.DIALBACK, "result"): Input.DIALBACK,
    (ns.DIALBACK, "verify"): Input.DIALBACK,
    (ns.BIDI, "bidi"): Input.BIDI,
    (ns.CLIENT, "message"): Input.STANZA,
    (ns.CLIENT, "presence"): Input.STANZA,
    (ns.CLIENT, "iq"): Input.STANZA,
}

TABLE: dict[State, dict[Input, str]] = {
    State.OPENING: {Input.HEADER: "_open"},
    State.OFFERED: {
        Input.STARTTLS: "_startTLS",
        Input.AUTH: "_authenticate",
        Input.DIALBACK: "_dialback",
        Input.BIDI: "_turnBidirectional",
    },
    State.CHALLENGED: {Input.AUTH: "_authenticate", Input.RESPONSE: "_respond", Input.ABORT: "_abort"},
    State.REOPENING: {Input.HEADER: "_reopen"},
}
"""State × input → the method that takes it. Whatever is not here is in `FAULTS`."""

FAULTS: dict[Input, str] = {
    Input.HEADER: "_secondHeader",
    Input.STARTTLS: "_refuseTLS",
    Input.AUTH: "_outOfOrder",
    Input.RESPONSE: "_outOfOrder",
    Input.ABORT: "_outOfOrder",
    Input.DIALBACK: "_outOfOrder",
    Input.BIDI: "_outOfOrder",
    Input.STANZA: "_notAuthorized",
    Input.UNKNOWN: "_unsupported",
    Input.END: "_end",
    Input.ERROR: "_parseError",
}
"""Input → what is done with it in states that do not expect it."""


class IncomingMachine(TableMachine):
    """One stream of another server, seen from us, until it has its link.

    `isOurs` says whether a domain is served here, `allows` whether we speak to one that is not; `defaultHost` names us
    in answers to headers that name nobody we know. `local` and `remote` are what the header says, `remote` "" if it
    says nothing. `authenticated`: by SASL, as `remote`.
    """

    kinds, inputs, table, faults = Input, _INPUTS, TABLE, FAULTS
    deaf = frozenset({State.DECIDING, State.SECURING, State.BOUND})

    __slots__ = (
        "_allows", "_isOurs", "_policy", "_tries", "authenticated", "bidi", "defaultHost", "local", "remote", "verdict",
    )  # fmt: skip

    def __init__(
        self, isOurs: Callable[[str], bool], allows: Callable[[str], bool], defaultHost: str, policy: Policy
    ) -> None:
        super().__init__()
        self._isOurs = isOurs
        self._allows = allows
        self._policy = policy
        self._tries = TRIES
        self.defaultHost = defaultHost
        self.local = self.remote = ""
        self.authenticated = False
        #: Whether the peer wants to be sent stanzas on this stream too (XEP-0288).
        self.bidi = False
        self.verdict = NO_CERTIFICATE

    # -- headers --------------------------------------------------------------------------

    def _open(self, header: StreamHeader) -> list[Ask]:
        """The first header, or the one after the TLS handshake."""
        former = self.local
        try:
            self._checkAddresses(header)
        except StreamError as error:
            return self.fail(error, header)
        if former and former != self.local:
            return self.fail(StreamError("host-unknown", "the host was chosen before TLS"), header)
        if self.secure and self.remote:
            self.state = State.DECIDING
            return [events.Judge(self.remote)]
        return self._offer()

    def _reopen(self, header: StreamHeader) -> list[Ask]:
        """The header after authentication: from and to the same (RFC 6120 6.4.6)."""
        before = self.local, self.remote
        try:
            self._checkAddresses(header)
            if (self.local, self.remote or before[1]) != before:
                raise StreamError("not-authorized", "authenticated as another domain, or at another")
        except StreamError as error:
            return self.fail(error, header)
        self.remote = before[1]
        self.state = State.BOUND
        features = self._managementFeature() + self._dialbackFeature() + limitsFeature(self._policy.maxBytes)
        return [events.Send(self._header(header) + self._framing.features(features)), events.Attach()]

    def _checkAddresses(self, header: StreamHeader) -> None:
        """RFC 6120 4.7.1, 4.7.2, 4.9.3.6; nobody comes from outside and is one of us (hardening S06)."""
        checkHeader(header, ns.SERVER)
        to = domainOf(header, "to")
        if not self._isOurs(to):
            raise StreamError("host-unknown")
        sender = domainOf(header, "from")
        if sender and self._isOurs(sender):
            raise StreamError("invalid-from", "this domain is served here")
        if sender and not self._allows(sender):
            raise StreamError("policy-violation", "this server does not federate with yours")
        self.local, self.remote = to, sender

    def _header(self, header: StreamHeader | None) -> bytes:
        """Our response header, with a new id each time."""
        attributes = headerAttributes(self.local or self.defaultHost, self.remote, self._newId())
        return self._framing.header(ns.SERVER, attributes)

    def judged(self, verdict: Verdict) -> list[Ask]:
        """Answer `Judge`."""
        if self.state is State.CLOSED:
            return []
        self.verdict = verdict
        return self._offer()

    def _offer(self) -> list[Ask]:
        """Our header, and the features for those who are not authenticated."""
        self.state = State.OFFERED
        features: list[Element] = []
        if not self.secure:
            startTLS = Element(ns.TLS, "starttls")
            if self._mustSecure():
                startTLS.child(ns.TLS, "required")
            features.append(startTLS)
        elif self.verdict.valid:
            features.append(mechanismsFeature([EXTERNAL]))
        if not self._mustSecure():
            features += self._dialbackFeature()
            if self.secure and self._policy.bidi:
                features.append(Element(ns.BIDI_FEATURE, "bidi"))
            # Dialback is followed by no other features, so what comes after it is offered here.
            features += self._managementFeature()
        return [events.Send(self._header(None) + self._framing.features(features))]

    def _mustSecure(self) -> bool:
        return self._policy.tls == REQUIRED and not self.secure

    def _dialbackFeature(self) -> list[Element]:
        return [dialbackFeature()]

    def _managementFeature(self) -> list[Element]:
        return [Element(ns.SM, "sm")] if self._policy.management else []

    # -- TLS ------------------------------------------------------------------------------

    def _startTLS(self, element: Element) -> list[Ask]:
        """RFC 6120 5.4.2. The element is empty; anything in it makes it malformed."""
        if self.secure or element.children:
            return self._refuseTLS(element)
        self.state = State.SECURING
        return [events.StartTLS(serialize(Element(ns.TLS, "proceed")))]

    def _refuseTLS(self, element: Element) -> list[Ask]:
        return self.noTLS()

    def noTLS(self) -> list[Ask]:
        """Answer `StartTLS` with a failure, which closes the stream (RFC 6120 5.4.2.2)."""
        return [events.Send(serialize(Element(ns.TLS, "failure"))), *self.close(expected=True)]

    def secured(self) -> None:
        """TLS protects the connection now. All that was said before is forgotten except the host, which chose the
        certificate."""
        self.state = State.OPENING
        self.secure = True
        self.bidi = False
        self._headerSent = False

    # -- SASL EXTERNAL --------------------------------------------------------------------

    def _authenticate(self, element: Element) -> list[Ask]:
        """XEP-0178 section 3, steps 10 and 11."""
        mechanism = element.get("mechanism") or ""
        if self._mustSecure():
            return self._failed(SASLFailure("encryption-required"), mechanism)
        if mechanism != EXTERNAL or not self.verdict.valid:
            return self._failed(SASLFailure("invalid-mechanism"), mechanism)
        try:
            authzid = initialResponse(characters(element))
            if authzid is None:
                self.state = State.CHALLENGED
                return [events.Send(serialize(Element(ns.SASL, "challenge")))]
            return self._accept(authzid)
        except SASLFailure as failure:
            return self._failed(failure)

    def _respond(self, element: Element) -> list[Ask]:
        """The peer answers the empty challenge."""
        try:
            return self._accept(decodeBase64(characters(element)))
        except SASLFailure as failure:
            return self._failed(failure)

    def _accept(self, authzid: bytes) -> list[Ask]:
        """Nobody but the `from` of the header, for which the certificate was found valid."""
        try:
            named = prepareDomain(authzid.decode()) if authzid else self.remote
        except (UnicodeDecodeError, InvalidJID):
            named = ""
        if named != self.remote:
            raise SASLFailure("invalid-authzid")
        self.authenticated = True
        self.jid = JID.of("", self.remote)
        self.state = State.REOPENING
        self._headerSent = False
        return [events.Send(serialize(Element(ns.SASL, "success"))), events.Restart()]

    def _abort(self, element: Element) -> list[Ask]:
        return self._failed(SASLFailure("aborted"))

    def _failed(self, failure: SASLFailure, mechanism: str = EXTERNAL) -> list[Ask]:
        """Every failure costs one of the tries of this stream (RFC 6120 6.4.5)."""
        self.state = State.OFFERED
        asks: list[Ask] = [events.Refuse(serialize(failure.toElement()), failure.condition, mechanism)]
        return asks + self._countTry()

    def _countTry(self) -> list[Ask]:
        self._tries -= 1
        return [] if self._tries > 0 else self.fail(StreamError("policy-violation", "too many failed attempts"))

    # -- dialback and both directions ---------------------------------------------------------

    def _dialback(self, element: Element) -> list[Ask]:
        """Dialback over TLS only, where that is the rule (XEP-0220 2.5, ``policy-violation``)."""
        if not self._mustSecure():
            self.state = State.BOUND
            return [events.Attach(element)]
        try:
            asked = Dialback.read(element)
        except StreamError as error:
            return self.fail(error)
        if asked.type:
            return self.fail(StreamError("not-authorized"))
        refusal = asked.answer(ERROR, StanzaError("policy-violation", type="cancel", text="TLS is required first"))
        return [events.Send(refusal.write()), *self._countTry()]

    def _turnBidirectional(self, element: Element) -> list[Ask]:
        """XEP-0288 2.2: the peer wants both directions; where we did not offer that it is out of place."""
        if not self._policy.bidi or not self.secure:
            return self._unsupported(element)
        self.bidi = True
        return []

    # -- faults of the peer -------------------------------------------------------------------

    def _notAuthorized(self, element: Element) -> list[Ask]:
        return self.fail(StreamError("not-authorized"))

    def _outOfOrder(self, element: Element) -> list[Ask]:
        return self.fail(StreamError("policy-violation", "not now"))

    def _unsupported(self, element: Element) -> list[Ask]:
        return self.fail(StreamError("unsupported-stanza-type"))
