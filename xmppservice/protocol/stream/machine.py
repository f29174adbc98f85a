"""The one file that owns the state of a stream, from header to binding (RFC 6120 4-7).

Theory of operation. Everything that arrives before a session is bound is classified as
one of the inputs of `Input`; `TABLE` says for each state which method takes which input.
What has no entry is a fault of the peer, answered by the method in `FAULTS`. A method
returns what the driver shall do (`events`). Some asks wait for an answer: the machine is
then in `State.DECIDING`, where no input may reach it; the driver holds it back.

The states in order: OPENING (a header must come) → OFFERED (features are sent, nobody
is authenticated) → SECURING (TLS handshake) → OPENING again; or OFFERED → CHALLENGED (a
SASL exchange is under way) → REOPENING (authenticated, a header must come) → BINDING →
BOUND. Any state may go to CLOSED, which has no way out: a stream is dead after an error.

Once BOUND the driver gives the stream's elements to the session and drops the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from xmppservice.protocol.errors import SASLFailure, StanzaError, StreamError
from xmppservice.protocol.jid import JID, InvalidJID, prepareDomain
from xmppservice.protocol.sasl.credentials import ClientCertificate
from xmppservice.protocol.sasl.encoding import (
    decodeBase64,
    encodeChallenge,
    encodeSuccess,
    initialResponse,
)
from xmppservice.protocol.sasl.mechanism import Bindings, Mechanism, SASLContext
from xmppservice.protocol.sasl.registry import mechanismFor
from xmppservice.protocol.sasl.steps import Challenge, Credentials, NeedSecrets, Step
from xmppservice.protocol.stanza import errorFor, resultFor
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State, TableMachine, characters, checkHeader
from xmppservice.protocol.stream.events import Ask
from xmppservice.protocol.stream.framing import TCP, Framing
from xmppservice.protocol.stream.resume import parseCount
from xmppservice.protocol.stream.roles import C2S, REQUIRED, HostFacts, Role, StreamLimits, limitsFeature
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamHeader
from xmppservice.wire.serializer import serialize

LANGUAGE = "en"
TRIES = 5
BIND_TRIES = 10

_COMPRESS = "http://jabber.org/protocol/compress"


class Input(Enum):
    """What can arrive."""

    HEADER = auto()
    STARTTLS = auto()
    AUTH = auto()
    RESPONSE = auto()
    ABORT = auto()
    REGISTER = auto()
    BIND = auto()
    STANZA = auto()
    RESUME = auto()
    MANAGE = auto()
    COMPRESS = auto()
    LATER = auto()
    UNKNOWN = auto()
    END = auto()
    ERROR = auto()


_INPUTS = {
    (ns.TLS, "starttls"): Input.STARTTLS,
    (ns.SASL, "auth"): Input.AUTH,
    (ns.SASL, "response"): Input.RESPONSE,
    (ns.SASL, "abort"): Input.ABORT,
    (ns.CLIENT, "message"): Input.STANZA,
    (ns.CLIENT, "presence"): Input.STANZA,
    (ns.CLIENT, "iq"): Input.STANZA,
    (ns.SM, "resume"): Input.RESUME,
    (ns.SM, "enable"): Input.MANAGE,
    (ns.SM, "r"): Input.MANAGE,
    (ns.SM, "a"): Input.MANAGE,
    (_COMPRESS, "compress"): Input.COMPRESS,
    ("urn:xmpp:sasl:2", "authenticate"): Input.LATER,
    ("jabber:server:dialback", "result"): Input.LATER,
    ("jabber:server:dialback", "verify"): Input.LATER,
}

_IQ_INPUTS = {(ns.BIND, "bind"): Input.BIND, (ns.REGISTER, "query"): Input.REGISTER}

TABLE: dict[State, dict[Input, str]] = {
    State.OPENING: {Input.HEADER: "_open"},
    State.OFFERED: {
        Input.STARTTLS: "_startTLS",
        Input.AUTH: "_authenticate",
        Input.RESPONSE: "_strayResponse",
        Input.ABORT: "_abort",
        Input.REGISTER: "_preAuth",
    },
    State.CHALLENGED: {
        # RFC 6120 6.4.2: a new <auth/> discards the exchange that is under way.
        Input.AUTH: "_authenticate",
        Input.RESPONSE: "_respond",
        Input.ABORT: "_abort",
    },
    State.REOPENING: {Input.HEADER: "_reopen"},
    State.BINDING: {Input.BIND: "_bind", Input.RESUME: "_resume"},
}
"""State × input → the method that takes it. Whatever is not here is in `FAULTS`."""

FAULTS: dict[Input, str] = {
    Input.HEADER: "_secondHeader",
    Input.STARTTLS: "_refuseTLS",
    Input.AUTH: "_outOfOrder",
    Input.RESPONSE: "_outOfOrder",
    Input.ABORT: "_outOfOrder",
    Input.REGISTER: "_notAuthorized",
    Input.BIND: "_notAuthorized",
    Input.STANZA: "_notAuthorized",
    Input.RESUME: "_manageTooEarly",
    Input.MANAGE: "_manageTooEarly",
    Input.COMPRESS: "_refuseCompression",
    Input.LATER: "_unsupported",
    Input.UNKNOWN: "_unsupported",
    Input.END: "_end",
    Input.ERROR: "_parseError",
}
"""Input → what is done with it in states that do not expect it."""

NEEDS_TLS = frozenset({Input.REGISTER, Input.BIND, Input.RESUME, Input.MANAGE, Input.LATER})
"""Inputs that are a policy violation on a plain stream that must be secured first."""


class StreamMachine(TableMachine):
    """One stream, seen from the receiving entity, until it is bound.

    `hostFor` finds a virtual host by its prepared domain; `defaultHost` names us in answers to
    headers that name nobody we know (RFC 6120 4.9.1.3). `extras` gives the features that the
    host's modules add for the stages "auth" and "bind".
    """

    kinds, inputs, table, faults = Input, _INPUTS, TABLE, FAULTS
    deaf = frozenset({State.DECIDING, State.SECURING, State.BOUND})

    __slots__ = (
        "_bindTries",
        "_bindings",
        "_certificate",
        "_due",
        "_extras",
        "_hostFor",
        "_limits",
        "_mechanism",
        "_offered",
        "_role",
        "_tries",
        "_waiting",
        "defaultHost",
        "host",
        "mechanism",
    )

    def __init__(
        self,
        hostFor: Callable[[str], HostFacts | None],
        defaultHost: str,
        limits: StreamLimits | None = None,
        extras: Callable[[str], list[Element]] | None = None,
        tries: int = TRIES,
        role: Role = C2S,
        framing: Framing = TCP,
    ) -> None:
        super().__init__(framing)
        self.host: HostFacts | None = None
        #: The mechanism that the peer named last, which may be none at all.
        self.mechanism = ""
        self.defaultHost = defaultHost
        self._hostFor = hostFor
        self._limits = limits or StreamLimits()
        self._extras = extras
        self._role = role
        self._bindings: Bindings = {}
        self._certificate: ClientCertificate | None = None
        self._mechanism: Mechanism | None = None
        self._offered: list[str] = []
        self._tries = tries
        self._bindTries = BIND_TRIES
        self._due: State = State.OPENING
        self._waiting: Element | None = None

    # -- what arrives ---------------------------------------------------------------------

    @classmethod
    def classify(cls, item: object) -> Input:
        """See `TableMachine.classify`; of an IQ it depends on what is in it."""
        kind: Input = super().classify(item)
        if kind is Input.STANZA and isinstance(item, Element) and item.name == "iq":
            for child in item.elements():
                return _IQ_INPUTS.get((child.ns, child.name), kind)
        return kind

    def _take(self, kind: Input, item: object) -> list[Ask]:
        if kind in NEEDS_TLS and self._mustSecure():
            return self.fail(StreamError("policy-violation", "TLS is required first"))
        return super()._take(kind, item)

    def _mustSecure(self) -> bool:
        return self.host is not None and self.host.tls == REQUIRED and not self.secure

    # -- headers --------------------------------------------------------------------------

    def _open(self, header: StreamHeader) -> list[Ask]:
        """The first header, or the one after the TLS handshake."""
        former = self.host
        try:
            checkHeader(header, self._role.content)
            host = self._findHost(header)
        except StreamError as error:
            return self.fail(error, header)
        if former is not None and former.name != host.name:
            return self.fail(StreamError("host-unknown", "the host was chosen before TLS"), header)
        self.host = host
        self.state = State.OFFERED
        # RFC 6120 6.3.4: EXTERNAL is for certificates that we accept.
        accepted = self._certificate is not None and self._certificate.trusted
        self._offered = self._role.offeredMechanisms(host, self.secure, self._bindings, accepted)
        features = self._role.authFeatures(host, self.secure, self._offered, self._bindings)
        if not self._mustSecure():
            features += self._extras("auth") if self._extras else []
        features += limitsFeature(self._limits.maxBytesPreAuth)
        return [events.Send(self._header(header) + self._framing.features(features))]

    def _reopen(self, header: StreamHeader) -> list[Ask]:
        """The header after authentication; it must be to the same host (RFC 6120 4.7.2)."""
        assert self.host is not None
        try:
            checkHeader(header, self._role.content)
            host = self._findHost(header)
            if host.name != self.host.name:
                raise StreamError("not-authorized", "authenticated at another host")
            self._checkFrom(header)
        except StreamError as error:
            return self.fail(error, header)
        self.state = State.BINDING
        features = self._role.bindFeatures()
        features += self._extras("bind") if self._extras else []
        features += limitsFeature(self._limits.maxBytes, self._limits.idleSeconds)
        return [events.Send(self._header(header) + self._framing.features(features))]

    def _findHost(self, header: StreamHeader) -> HostFacts:
        """The host the header is to (RFC 6120 4.7.2, 4.9.3.6, 4.9.3.7)."""
        to = header.attrs.get("to")
        if to is None:
            raise StreamError("host-unknown", "no 'to' attribute")
        try:
            domain = prepareDomain(to)
        except ValueError:
            raise StreamError("improper-addressing") from None
        host = self._hostFor(domain)
        if host is None:
            raise StreamError("host-unknown")
        return host

    def _checkFrom(self, header: StreamHeader) -> None:
        """A client that says who it is must say who it authenticated as (RFC 6120 4.7.1)."""
        claimed = header.attrs.get("from")
        if not claimed or self.jid is None:
            return
        try:
            jid = JID.parse(claimed)
        except InvalidJID:
            raise StreamError("improper-addressing") from None
        if jid.local and jid.bare != self.jid.bare:
            raise StreamError("invalid-from")

    def _header(self, header: StreamHeader | None) -> bytes:
        """Our response header, with a new id each time (RFC 6120 4.3.3, 4.7)."""
        attributes = {"id": self._newId(), "from": self.host.name if self.host is not None else self.defaultHost}
        if header is not None and header.attrs.get("from"):
            try:
                attributes["to"] = JID.parse(header.attrs["from"]).bare
            except InvalidJID:
                pass
        attributes["version"] = "1.0"
        attributes["xml:lang"] = LANGUAGE
        return self._framing.header(self._role.content, attributes)

    # -- TLS ------------------------------------------------------------------------------

    def _startTLS(self, element: Element) -> list[Ask]:
        """RFC 6120 5.4.2. The element is empty; anything in it makes it malformed."""
        assert self.host is not None
        if self.secure or not self._offersTLS() or element.children:
            return self._refuseTLS(element)
        self.state = State.SECURING
        return [events.StartTLS(serialize(Element(ns.TLS, "proceed"), ns.CLIENT))]

    def _offersTLS(self) -> bool:
        return self.host is not None and self.host.tls in ("required", "optional")

    def _refuseTLS(self, element: Element) -> list[Ask]:
        """The failure case closes the stream (RFC 6120 5.4.2.2)."""
        return [events.Send(serialize(Element(ns.TLS, "failure"), ns.CLIENT)), *self.close(expected=True)]

    def secured(self, bindings: Bindings, certificate: ClientCertificate | None = None) -> None:
        """TLS protects the connection now: after `StartTLS`, or before the first header.

        All that was said before is forgotten except the host, which chose the certificate.
        """
        self.state = State.OPENING
        self.secure = True
        self._headerSent = False
        self._bindings = bindings
        self._certificate = certificate

    # -- SASL -----------------------------------------------------------------------------

    def _authenticate(self, element: Element) -> list[Ask]:
        """RFC 6120 6.4.2."""
        assert self.host is not None
        self._mechanism = None
        self.mechanism = element.get("mechanism") or ""
        try:
            mechanism = self._begin(self.mechanism)
            data = initialResponse(characters(element))
            self._mechanism = mechanism
            return self._follow(mechanism.respond(data))
        except SASLFailure as failure:
            return self._saslFailed(failure)

    def _begin(self, name: str) -> Mechanism:
        """Only what was offered is accepted (hardening A02, T02)."""
        assert self.host is not None
        if name not in self._offered:
            raise SASLFailure("encryption-required") if self._mustSecure() else self.host.refusal(name, self.secure)
        plus = any(offer.endswith("-PLUS") for offer in self._offered)
        context = SASLContext(self.host.name, self.secure, self._bindings, self._certificate, plus)
        return mechanismFor(name, context)

    def _respond(self, element: Element) -> list[Ask]:
        """RFC 6120 6.4.3."""
        assert self._mechanism is not None
        try:
            return self._follow(self._mechanism.respond(decodeBase64(characters(element))))
        except SASLFailure as failure:
            return self._saslFailed(failure)

    def _follow(self, step: Step) -> list[Ask]:
        if isinstance(step, Challenge):
            self.state = State.CHALLENGED
            challenge = Element(ns.SASL, "challenge")
            if step.data:
                challenge.children.append(encodeChallenge(step.data))
            return [events.Send(serialize(challenge, ns.CLIENT))]
        self.state = State.DECIDING
        if isinstance(step, NeedSecrets):
            return [events.FetchSecrets(step.user, step.mechanism)]
        assert isinstance(step, Credentials)
        return [events.Login(step.credentials)]

    def secretsFetched(self, salt: bytes, iterations: int) -> list[Ask]:
        """Answer `FetchSecrets`."""
        if self.state is State.CLOSED or self._mechanism is None:
            return []
        try:
            return self._follow(self._mechanism.secrets(salt, iterations))
        except SASLFailure as failure:
            return self._saslFailed(failure)

    def loggedIn(self, jid: JID) -> list[Ask]:
        """Answer `Login`: the portal accepted, and `jid` is who the peer is."""
        if self.state is State.CLOSED or self._mechanism is None:
            return []
        try:
            outcome = self._mechanism.accepted()
        except SASLFailure as failure:
            return self._saslFailed(failure)
        self.jid = jid
        self._mechanism = None
        self.state = State.REOPENING
        success = Element(ns.SASL, "success")
        data = encodeSuccess(outcome.data)
        if data:
            success.children.append(data)
        self._headerSent = False
        return [events.Send(serialize(success, ns.CLIENT)), events.Restart()]

    def loginFailed(self, failure: SASLFailure) -> list[Ask]:
        """Answer `FetchSecrets` or `Login`: refused, or not to be had."""
        return [] if self.state is State.CLOSED else self._saslFailed(failure)

    def _abort(self, element: Element) -> list[Ask]:
        return self._saslFailed(SASLFailure("aborted"))

    def _strayResponse(self, element: Element) -> list[Ask]:
        return self._saslFailed(SASLFailure("malformed-request"))

    def _saslFailed(self, failure: SASLFailure) -> list[Ask]:
        """Every failure costs one of the tries of this stream (RFC 6120 6.4.5)."""
        self._mechanism = None
        self.state = State.OFFERED
        self._tries -= 1
        told = serialize(failure.toElement(), ns.CLIENT)
        asks: list[Ask] = [events.Refuse(told, failure.condition, self.mechanism)]
        if self._tries <= 0:
            asks += self.fail(StreamError("policy-violation", "too many failed authentications"))
        return asks

    # -- before authentication ------------------------------------------------------------

    def _preAuth(self, iq: Element) -> list[Ask]:
        """In-band registration (XEP-0077 3.1) is the host's matter; what asks nothing gets no answer."""
        if iq.get("type") not in ("get", "set"):
            return self._notAuthorized(iq)
        self._await(State.OFFERED, iq)
        return [events.PreAuth(iq)]

    def preAuthAnswered(self, reply: Element) -> list[Ask]:
        """Answer `PreAuth` with the complete reply."""
        if self.state is State.CLOSED:
            return []
        self._resolve()
        return [events.Send(serialize(reply, ns.CLIENT))]

    # -- binding and resumption -----------------------------------------------------------

    def _bind(self, iq: Element) -> list[Ask]:
        """RFC 6120 section 7."""
        request = iq.find(ns.BIND, "bind")
        assert request is not None
        if iq.get("type") != "set" or not iq.get("id") or len(iq.elements()) != 1:
            return self._refuseBind(iq, StanzaError("bad-request"))
        resource = request.find(ns.BIND, "resource")
        wanted = resource.text if resource is not None else ""
        self._await(State.BINDING, iq)
        return [events.Bind(wanted or None)]

    def bound(self, jid: JID) -> list[Ask]:
        """Answer `Bind`: the session exists, and is told nothing before this is performed."""
        if self.state is State.CLOSED:
            return []
        iq = self._resolve()
        self.jid = jid
        self.state = State.BOUND
        result = Element(ns.BIND, "bind")
        result.child(ns.BIND, "jid", text=jid.full)
        return [events.Send(serialize(resultFor(iq, result), ns.CLIENT))]

    def bindFailed(self, error: StanzaError) -> list[Ask]:
        """Answer `Bind`: refused; the peer may try again (RFC 6120 7.7.3)."""
        return [] if self.state is State.CLOSED else self._refuseBind(self._resolve(), error)

    def _refuseBind(self, iq: Element, error: StanzaError) -> list[Ask]:
        self._bindTries -= 1
        reply = errorFor(iq, error)
        asks: list[Ask] = [events.Send(serialize(reply, ns.CLIENT))] if reply is not None else []
        if self._bindTries <= 0:
            asks += self.fail(StreamError("policy-violation", "too many attempts to bind"))
        return asks

    def _resume(self, element: Element) -> list[Ask]:
        """XEP-0198 section 5."""
        h = parseCount(element.get("h"))
        previd = element.get("previd")
        if h is None or not previd:
            return self.fail(StreamError("invalid-xml"))
        self._await(State.BINDING, element)
        return [events.Resume(previd, h)]

    def resumed(self, jid: JID) -> list[Ask]:
        """Answer `Resume`: the session has the stream, and says ``<resumed/>`` itself."""
        if self.state is not State.CLOSED:
            self._resolve()
            self.jid = jid
            self.state = State.BOUND
        return []

    def resumeFailed(self, condition: str, h: int | None = None) -> list[Ask]:
        """Answer `Resume`: the peer may bind now."""
        if self.state is State.CLOSED:
            return []
        self._resolve()
        return self._refuseManagement(condition, h)

    def _manageTooEarly(self, element: Element) -> list[Ask]:
        """XEP-0198 section 3: not before binding."""
        return self._refuseManagement("unexpected-request")

    def _refuseManagement(self, condition: str, h: int | None = None) -> list[Ask]:
        self._bindTries -= 1
        if self._bindTries <= 0:
            return self.fail(StreamError("policy-violation", "too many attempts"))
        failed = Element(ns.SM, "failed", {} if h is None else {"h": str(h)})
        failed.child(ns.STANZA_ERRORS, condition)
        return [events.Send(serialize(failed, ns.CLIENT))]

    def _await(self, due: State, element: Element) -> None:
        """An answer is due; afterwards the state is `due` again."""
        self._due, self._waiting, self.state = due, element, State.DECIDING

    def _resolve(self) -> Element:
        assert self.state is State.DECIDING and self._waiting is not None
        element, self._waiting, self.state = self._waiting, None, self._due
        return element

    # -- faults of the peer ---------------------------------------------------------------

    def _notAuthorized(self, element: Element) -> list[Ask]:
        return self.fail(StreamError("not-authorized"))

    def _outOfOrder(self, element: Element) -> list[Ask]:
        return self.fail(StreamError("policy-violation", "already authenticated"))

    def _unsupported(self, element: Element) -> list[Ask]:
        return self.fail(StreamError("unsupported-stanza-type"))

    def _refuseCompression(self, element: Element) -> list[Ask]:
        """XEP-0138 3: nothing is offered, so every method is unsupported. Costs a try."""
        self._tries -= 1
        if self._tries <= 0:
            return self.fail(StreamError("policy-violation"))
        failure = Element(_COMPRESS, "failure")
        failure.child(_COMPRESS, "unsupported-method")
        return [events.Send(serialize(failure, ns.CLIENT))]
