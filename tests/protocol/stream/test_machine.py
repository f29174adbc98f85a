"""The stream machine: every state against every input, headers, TLS, SASL, bind, resume."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

import pytest

from xmppservice.protocol.errors import SASLFailure, StanzaError, StreamError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.sasl.credentials import PlainCredentials, ScramCredentials, deriveKeys
from xmppservice.protocol.sasl.registry import MECHANISMS
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State
from xmppservice.protocol.stream.machine import FAULTS, TABLE, Input, StreamMachine
from xmppservice.protocol.stream.roles import ABSENT, OPTIONAL, REQUIRED, StreamLimits
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import ParseError, StreamEnd, StreamHeader

ALICE = JID.parse("alice@a.test")
STREAM_NS = ns.STREAM


class Facts:
    """A host as the machine sees it."""

    def __init__(self, name: str, tls: str = OPTIONAL, mechanisms: Iterable[str] = MECHANISMS) -> None:
        self.name = name
        self.tls = tls
        self.mechanisms = tuple(mechanisms)

    def refusal(self, name: str, secure: bool) -> SASLFailure:
        """As a portal would have it."""
        info = MECHANISMS.get(name)
        needsTLS = info is not None and info.tls and not secure
        return SASLFailure("encryption-required" if needsTLS else "invalid-mechanism")


def machine(tls: str = OPTIONAL, mechanisms: Iterable[str] = MECHANISMS, **more: object) -> StreamMachine:
    """A machine with the hosts a.test and b.test."""
    hosts = {name: Facts(name, tls, mechanisms) for name in ("a.test", "b.test")}
    return StreamMachine(hosts.get, "a.test", **more)  # type: ignore[arg-type]


def header(to: str | None = "a.test", version: str | None = "1.0", **more: str) -> StreamHeader:
    """A stream header as the parser gives it."""
    attrs = dict(more)
    if to is not None:
        attrs["to"] = to
    if version is not None:
        attrs["version"] = version
    return StreamHeader(ns.STREAM, "stream", attrs, ns.CLIENT, "", {"stream": ns.STREAM})


def sent(asks: list[events.Ask]) -> str:
    """What is to be sent, as text."""
    parts = []
    for ask in asks:
        if isinstance(ask, events.Send):
            parts.append(ask.data.decode())
        elif isinstance(ask, events.StartTLS):
            parts.append(ask.proceed.decode())
    return "".join(parts)


def kinds(asks: list[events.Ask]) -> list[str]:
    """The kinds of asks besides Send."""
    return [type(ask).__name__ for ask in asks if not isinstance(ask, events.Send)]


def assertFailed(asks: list[events.Ask], condition: str) -> None:
    """A stream error, the footer, and the end, in this order."""
    text = sent(asks)
    assert f"<stream:error><{condition} xmlns='{ns.STREAM_ERRORS}'" in text
    assert text.endswith("</stream:error></stream:stream>")
    assert kinds(asks) == ["Close"]


def b64(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()


def sasl(name: str, text: str = "", **attrs: str) -> Element:
    """A SASL element."""
    return Element(ns.SASL, name, attrs, *([text] if text else []))


def plain(user: bytes = b"alice", password: bytes = b"secret") -> Element:
    """A PLAIN auth."""
    return sasl("auth", b64(b"\0" + user + b"\0" + password), mechanism="PLAIN")


def iq(child: Element, type: str = "set", id: str = "i1") -> Element:
    """An IQ."""
    return Element(ns.CLIENT, "iq", {"type": type, "id": id}, child)


def bindRequest(resource: str | None = None) -> Element:
    """A bind IQ."""
    request = Element(ns.BIND, "bind")
    if resource is not None:
        request.child(ns.BIND, "resource", text=resource)
    return iq(request)


def opened(secure: bool = True, **more: object) -> StreamMachine:
    """A machine whose features are out."""
    stream = machine(**more)  # type: ignore[arg-type]
    if secure:
        stream.secured({})
    stream.receive(header())
    return stream


def authenticated(**more: object) -> StreamMachine:
    """A machine that has said success."""
    stream = opened(**more)
    stream.receive(plain())
    stream.loggedIn(ALICE)
    return stream


def binding(**more: object) -> StreamMachine:
    """A machine that offers binding."""
    stream = authenticated(**more)
    stream.receive(header())
    return stream


def challenged() -> StreamMachine:
    """A machine in the midst of SCRAM."""
    stream = opened()
    stream.receive(sasl("auth", mechanism="SCRAM-SHA-1"))
    return stream


class TestTable:
    """The tables themselves."""

    def test_methodsExist(self) -> None:
        """Every name in the tables is a method."""
        for row in (*TABLE.values(), FAULTS):
            for name in row.values():
                assert callable(getattr(StreamMachine, name))

    def test_faultsAreComplete(self) -> None:
        """Every input has an answer in every state."""
        assert set(FAULTS) == set(Input)
        assert set(TABLE) == set(State) - {State.SECURING, State.DECIDING, State.BOUND, State.CLOSED}

    def test_noInputWhileAnAnswerIsDue(self) -> None:
        """The driver must hold input back; the machine insists."""
        stream = opened()
        stream.receive(plain())
        assert stream.state is State.DECIDING
        with pytest.raises(RuntimeError):
            stream.receive(StreamEnd())

    def test_deadAfterTheEnd(self) -> None:
        """After a stream error nothing is answered any more (RFC 6120 4.9.1.1)."""
        stream = opened()
        stream.fail(StreamError("reset"))
        assert stream.receive(plain()) == []
        assert stream.fail(StreamError("reset")) == []
        assert stream.close() == []
        assert stream.bound(ALICE) == []
        assert stream.bindFailed(StanzaError("conflict")) == []
        assert stream.preAuthAnswered(Element(ns.CLIENT, "iq")) == []
        assert stream.resumed(ALICE) == []
        assert stream.resumeFailed("item-not-found") == []
        assert stream.loggedIn(ALICE) == []
        assert stream.secretsFetched(b"", 1) == []
        assert stream.loginFailed(SASLFailure("not-authorized")) == []

    @pytest.mark.parametrize(
        ("item", "kind"),
        [
            (Element(ns.TLS, "starttls"), Input.STARTTLS),
            (Element(ns.CLIENT, "iq"), Input.STANZA),
            (bindRequest(), Input.BIND),
            (iq(Element(ns.REGISTER, "query")), Input.REGISTER),
            (Element(ns.SM, "r"), Input.MANAGE),
            (Element(ns.SM, "resume"), Input.RESUME),
            (Element(ns.CLIENT, "foo"), Input.UNKNOWN),
            (Element("urn:x", "message"), Input.UNKNOWN),
            (StreamEnd(), Input.END),
            (ParseError("not-well-formed", ""), Input.ERROR),
        ],
    )
    def test_classify(self, item: object, kind: Input) -> None:
        """Items become inputs by namespace and name."""
        assert StreamMachine.classify(item) is kind


STANZA = Element(ns.CLIENT, "message")
COMPRESS = Element("http://jabber.org/protocol/compress", "compress")
STATES = {"opened": opened, "challenged": challenged, "binding": binding}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("item", "condition"),
    [
        (header(), "invalid-xml"),
        (STANZA, "not-authorized"),
        (Element(ns.CLIENT, "presence"), "not-authorized"),
        (iq(Element(ns.ROSTER, "query"), "get"), "not-authorized"),
        (iq(Element(ns.SESSION, "session")), "not-authorized"),
        (Element(ns.CLIENT, "foo"), "unsupported-stanza-type"),
        (Element("urn:x", "y"), "unsupported-stanza-type"),
        (Element("urn:xmpp:sasl:2", "authenticate"), "unsupported-stanza-type"),
        (ParseError("restricted-xml", "no"), "restricted-xml"),
        (ParseError("not-well-formed", "no"), "not-well-formed"),
        (ParseError("unsupported-encoding", "no"), "unsupported-encoding"),
    ],
)
def test_faults(state: str, item: object, condition: str) -> None:
    """Each fault of the peer gets its stream error in every state (RFC 6120 4.9.3)."""
    assertFailed(STATES[state]().receive(item), condition)


@pytest.mark.parametrize("state", STATES)
def test_compression(state: str) -> None:
    """Compression is refused without harm, but not for ever (XEP-0138, hardening X03)."""
    stream = STATES[state]()
    for _ in range(4):
        assert "<unsupported-method/>" in sent(stream.receive(COMPRESS))
    assertFailed(stream.receive(COMPRESS), "policy-violation")


@pytest.mark.parametrize("name", ["enable", "r", "a"])
@pytest.mark.parametrize("state", STATES)
def test_managementTooEarly(state: str, name: str) -> None:
    """XEP-0198 section 3: not before a resource is bound."""
    stream = STATES[state]()
    answer = sent(stream.receive(Element(ns.SM, name)))
    assert answer == f"<failed xmlns='{ns.SM}'><unexpected-request xmlns='{ns.STANZA_ERRORS}'/></failed>"


@pytest.mark.parametrize("state", ["opened", "challenged"])
def test_bindBeforeAuthentication(state: str) -> None:
    """A bind request before authentication is a stanza that is not authorised."""
    assertFailed(STATES[state]().receive(bindRequest()), "not-authorized")


@pytest.mark.parametrize("state", STATES)
def test_end(state: str) -> None:
    """The peer closes, we close (RFC 6120 4.4)."""
    asks = STATES[state]().receive(StreamEnd())
    assert sent(asks) == "</stream:stream>"
    assert kinds(asks) == ["Close"]


def test_stanzaTooBig() -> None:
    """What the parser says of limits is told as it says it (XEP-0205)."""
    asks = opened().receive(ParseError("policy-violation", "too big", "stanza-too-big"))
    assertFailed(asks, "policy-violation")
    assert f"<stanza-too-big xmlns='{ns.ERRORS}'/>" in sent(asks)


class TestHeader:
    """RFC 6120 4.2, 4.7, 4.8."""

    def test_response(self) -> None:
        """Our header answers theirs, then come features."""
        text = sent(machine().receive(header(**{"from": "Alice@a.test/x"})))
        assert text.startswith("<?xml version='1.0'?><stream:stream ")
        for part in ("from='a.test'", "to='alice@a.test'", "version='1.0'", "xml:lang='en'", "xmlns='jabber:client'"):
            assert part in text
        assert text.endswith("</stream:features>")

    def test_idsDiffer(self) -> None:
        """Each stream has a new id, with at least 128 bits."""
        ids = set()
        for _ in range(100):
            stream = machine()
            stream.receive(header())
            ids.add(stream.id)
            assert len(stream.id) >= 22
        assert len(ids) == 100

    def test_newIdAfterRestart(self) -> None:
        """RFC 6120 4.3.3."""
        stream = authenticated()
        former = stream.id
        stream.receive(header())
        assert stream.id != former

    @pytest.mark.parametrize("version", ["1.0", "1.9", "2.0", "01.0", "10.12"])
    def test_versions(self, version: str) -> None:
        """One or more is answered with 1.0 (RFC 6120 4.7.5)."""
        text = sent(machine().receive(header(version=version)))
        assert "version='1.0'" in text
        assert "<stream:features>" in text

    @pytest.mark.parametrize("version", [None, "", "0.9", "abc", "1", "1.", ".1", "-1.0", "1.0.0", "１.0", "9" * 5000])
    def test_badVersions(self, version: str | None) -> None:
        """Less than one, or no number, is not supported."""
        assertFailed(machine().receive(header(version=version)), "unsupported-version")

    def test_streamNamespace(self) -> None:
        """RFC 6120 4.8.1, with our header first (4.9.1.2)."""
        wrong = header()
        wrong.ns = "http://wrong.example/"
        asks = machine().receive(wrong)
        assertFailed(asks, "invalid-namespace")
        assert sent(asks).startswith("<?xml version='1.0'?><stream:stream ")

    def test_rootName(self) -> None:
        """The root must be <stream>."""
        wrong = header()
        wrong.name = "flow"
        assertFailed(machine().receive(wrong), "bad-format")

    @pytest.mark.parametrize("content", ["jabber:foo", "jabber:server", "", "http://etherx.jabber.org/streams"])
    def test_contentNamespace(self, content: str) -> None:
        """RFC 6120 4.8.2: only jabber:client is spoken here."""
        wrong = header()
        wrong.contentNs = content
        assertFailed(machine().receive(wrong), "invalid-namespace")

    def test_prefixedContent(self) -> None:
        """RFC 6120 4.8.5: the stream namespace may be the default one."""
        other = header()
        other.contentNs = ns.STREAM
        other.prefixes = {"app": ns.CLIENT}
        assert "<stream:features>" in sent(machine().receive(other))

    @pytest.mark.parametrize("to", ["nope.test", "NOPE.test.", "127.0.0.1"])
    def test_unknownHost(self, to: str) -> None:
        """Our header then names our default host (RFC 6120 4.9.1.3)."""
        asks = machine().receive(header(to))
        assertFailed(asks, "host-unknown")
        assert "from='a.test'" in sent(asks)

    def test_noHost(self) -> None:
        """No 'to' names no host of ours."""
        assertFailed(machine().receive(header(None)), "host-unknown")

    @pytest.mark.parametrize("to", ["", "a b", "@@@", "a.test/x", "x@a.test", "x" * 2000])
    def test_badHost(self, to: str) -> None:
        """An address that is no domain."""
        asks = machine().receive(header(to))
        assertFailed(asks, "improper-addressing")

    @pytest.mark.parametrize("to", ["A.TEST", "a.test."])
    def test_hostIsPrepared(self, to: str) -> None:
        """Case and a trailing dot do not matter."""
        assert "from='a.test'" in sent(machine().receive(header(to)))

    def test_badFromIsNotEchoed(self) -> None:
        """A 'from' that is no address is not repeated."""
        assert " to=" not in sent(machine().receive(header(**{"from": "@@"})))

    def test_errorBeforeHeader(self) -> None:
        """Garbage instead of a header gets ours, then the error."""
        asks = machine().receive(ParseError("not-well-formed", ""))
        assertFailed(asks, "not-well-formed")
        assert sent(asks).startswith("<?xml")

    def test_changedHostAfterAuthentication(self) -> None:
        """Hardening A03: a known other host is not-authorized, an unknown one host-unknown."""
        assertFailed(authenticated().receive(header("b.test")), "not-authorized")
        assertFailed(authenticated().receive(header("c.test")), "host-unknown")

    def test_changedHostAfterTLS(self) -> None:
        """The first header chose the certificate."""
        stream = machine(REQUIRED)
        stream.receive(header())
        stream.receive(Element(ns.TLS, "starttls"))
        stream.secured({})
        assertFailed(stream.receive(header("b.test")), "host-unknown")

    def test_fromAfterAuthentication(self) -> None:
        """A client that names itself must name who it authenticated as (RFC 6120 4.7.1)."""
        assertFailed(authenticated().receive(header(**{"from": "bob@a.test"})), "invalid-from")
        assertFailed(authenticated().receive(header(**{"from": "@@"})), "improper-addressing")
        assert "<bind" in sent(authenticated().receive(header(**{"from": "Alice@a.test/x"})))


class TestFeatures:
    """What is offered, when."""

    def test_requiredTLSOffersNothingElse(self) -> None:
        """STARTTLS first; nothing that would be refused is offered."""
        extra = Element("urn:extra", "x")
        text = sent(machine(REQUIRED, extras=lambda stage: [extra]).receive(header()))
        assert f"<stream:features><starttls xmlns='{ns.TLS}'><required/></starttls></stream:features>" in text

    def test_optionalTLS(self) -> None:
        """Both are offered, but no mechanism that needs TLS."""
        text = sent(machine(OPTIONAL).receive(header()))
        assert f"<starttls xmlns='{ns.TLS}'/>" in text
        assert "<mechanism>SCRAM-SHA-1</mechanism>" in text
        for name in ("PLAIN", "EXTERNAL", "SCRAM-SHA-1-PLUS"):
            assert f"<mechanism>{name}</mechanism>" not in text

    def test_absentTLS(self) -> None:
        """Without certificates there is no STARTTLS."""
        assert "starttls" not in sent(machine(ABSENT).receive(header()))

    def test_secured(self) -> None:
        """Under TLS there is no STARTTLS; bindings are announced (XEP-0440)."""
        stream = machine(REQUIRED)
        stream.secured({"tls-exporter": b"x"})
        text = sent(stream.receive(header()))
        assert "starttls" not in text
        assert "<mechanism>SCRAM-SHA-1-PLUS</mechanism>" in text
        assert "<mechanism>PLAIN</mechanism>" in text
        assert f"<sasl-channel-binding xmlns='{ns.CHANNEL_BINDING}'><channel-binding type='tls-exporter'/>" in text
        assert "EXTERNAL" not in text

    def test_hostDecides(self) -> None:
        """Only what the host's portal can judge is offered."""
        text = sent(machine(mechanisms=["SCRAM-SHA-256"]).receive(header()))
        assert text.count("<mechanism>") == 1

    def test_limits(self) -> None:
        """XEP-0478, before and after authentication."""
        limits = StreamLimits(8192, 262144, 300)
        before = sent(machine(limits=limits).receive(header()))
        assert f"<limits xmlns='{ns.LIMITS}'><max-bytes>8192</max-bytes></limits>" in before
        after = sent(authenticated(limits=limits).receive(header()))
        assert "<max-bytes>262144</max-bytes><idle-seconds>300</idle-seconds>" in after

    def test_bind(self) -> None:
        """After authentication: bind, the optional session, and what modules add."""
        stages: list[str] = []

        def extras(stage: str) -> list[Element]:
            stages.append(stage)
            return [Element(ns.SM, "sm")] if stage == "bind" else []

        text = sent(authenticated(extras=extras).receive(header()))
        assert "<bind " in text
        assert "<session " in text
        assert f"<sm xmlns='{ns.SM}'/>" in text
        assert "mechanisms" not in text
        assert stages == ["auth", "bind"]


class TestTLS:
    """RFC 6120 section 5."""

    def test_proceed(self) -> None:
        """The driver is asked to start TLS, and input is held until it has."""
        stream = machine(REQUIRED)
        stream.receive(header())
        asks = stream.receive(Element(ns.TLS, "starttls"))
        assert kinds(asks) == ["StartTLS"]
        assert sent(asks) == f"<proceed xmlns='{ns.TLS}'/>"
        assert stream.state is State.SECURING

    @pytest.mark.parametrize("make", [lambda: opened(secure=True), lambda: opened(secure=False, tls=ABSENT), binding])
    def test_refused(self, make: object) -> None:
        """Not offered: failure, and the stream is closed without stream error (5.4.2.2)."""
        stream = make()  # type: ignore[operator]
        asks = stream.receive(Element(ns.TLS, "starttls"))
        assert sent(asks) == f"<failure xmlns='{ns.TLS}'/></stream:stream>"
        assert kinds(asks) == ["Close"]

    def test_malformed(self) -> None:
        """A starttls with children is malformed."""
        stream = opened(secure=False)
        asks = stream.receive(Element(ns.TLS, "starttls", {}, Element("urn:x", "y")))
        assert "<failure" in sent(asks)

    @pytest.mark.parametrize(
        "item",
        [
            bindRequest(),
            iq(Element(ns.REGISTER, "query")),
            Element(ns.SM, "resume", {"previd": "x", "h": "0"}),
            Element(ns.SM, "enable"),
            Element("urn:xmpp:sasl:2", "authenticate"),
            Element("jabber:server:dialback", "result"),
        ],
    )
    def test_nothingPassesBeforeTLS(self, item: Element) -> None:
        """Hardening T02: what must be secured first is refused by policy."""
        assertFailed(opened(secure=False, tls=REQUIRED).receive(item), "policy-violation")

    def test_authBeforeTLS(self) -> None:
        """SASL says it itself: encryption-required, for every mechanism."""
        for name in (*MECHANISMS, "CRAM-MD5"):
            stream = opened(secure=False, tls=REQUIRED)
            assert "<encryption-required/>" in sent(stream.receive(sasl("auth", "=", mechanism=name)))

    def test_plainWithoutTLS(self) -> None:
        """PLAIN needs TLS even where TLS is optional."""
        assert "<encryption-required/>" in sent(opened(secure=False).receive(plain()))


class TestSASL:
    """RFC 6120 section 6."""

    def test_plain(self) -> None:
        """One message, the portal's word, success, restart."""
        stream = opened()
        asks = stream.receive(plain())
        (ask,) = asks
        assert isinstance(ask, events.Login)
        assert isinstance(ask.credentials, PlainCredentials)
        asks = stream.loggedIn(ALICE)
        assert sent(asks) == f"<success xmlns='{ns.SASL}'/>"
        assert kinds(asks) == ["Restart"]
        assert stream.state is State.REOPENING
        assert stream.jid == ALICE

    def test_scram(self) -> None:
        """Secrets, challenge, proof, and success with the server's signature."""
        stream = opened()
        first = "n=alice,r=abc"
        (ask,) = stream.receive(sasl("auth", b64(b"n,," + first.encode()), mechanism="SCRAM-SHA-256"))
        assert isinstance(ask, events.FetchSecrets)
        assert (ask.user, ask.mechanism) == ("alice", "SCRAM-SHA-256")
        challenge = sent(stream.secretsFetched(b"salt", 4096))
        server = base64.b64decode(challenge.partition(">")[2].partition("<")[0]).decode()
        nonce = server.partition("r=")[2].partition(",")[0]
        salted = hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 4096)
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c={b64(b'n,,')},r={nonce}"
        message = f"{first},{server},{final}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        (ask,) = stream.receive(sasl("response", b64(f"{final},p={b64(proof)}".encode())))
        assert isinstance(ask, events.Login)
        credentials = ask.credentials
        assert isinstance(credentials, ScramCredentials)
        assert credentials.verify(deriveKeys("SCRAM-SHA-256", b"secret", b"salt", 4096))
        assert b64(b"v=")[:2] in sent(stream.loggedIn(ALICE))

    def test_scramUnverified(self) -> None:
        """A portal that accepts without verifying the proof makes no success."""
        stream = challenged()
        stream.receive(sasl("response", b64(b"n,,n=alice,r=abc")))
        challenge = sent(stream.secretsFetched(b"salt", 4096))
        server = base64.b64decode(challenge.partition(">")[2].partition("<")[0]).decode()
        nonce = server.partition("r=")[2].partition(",")[0]
        stream.receive(sasl("response", b64(f"c={b64(b'n,,')},r={nonce},p={b64(bytes(20))}".encode())))
        assert "<not-authorized/>" in sent(stream.loggedIn(ALICE))

    def test_emptyChallenge(self) -> None:
        """Without an initial response the machine asks for it (6.4.2)."""
        stream = opened()
        assert sent(stream.receive(sasl("auth", mechanism="PLAIN"))) == f"<challenge xmlns='{ns.SASL}'/>"
        assert kinds(stream.receive(sasl("response", b64(b"\0alice\0secret")))) == ["Login"]

    @pytest.mark.parametrize(
        ("item", "condition"),
        [
            (sasl("auth", "=", mechanism="CRAM-MD5"), "invalid-mechanism"),
            (sasl("auth", "="), "invalid-mechanism"),
            (sasl("auth", "=", mechanism="EXTERNAL"), "invalid-mechanism"),
            (sasl("auth", "@@@", mechanism="PLAIN"), "incorrect-encoding"),
            (sasl("auth", "AGE AYg==", mechanism="PLAIN"), "incorrect-encoding"),
            (sasl("auth", "AGEAYg=", mechanism="PLAIN"), "incorrect-encoding"),
            (sasl("auth", b64(b"alice"), mechanism="PLAIN"), "malformed-request"),
            (sasl("auth", "=", mechanism="PLAIN"), "malformed-request"),
            (sasl("auth", b64(b"bob@a.test\0alice\0secret"), mechanism="PLAIN"), "invalid-authzid"),
            (Element(ns.SASL, "auth", {"mechanism": "PLAIN"}, Element("urn:x", "y")), "malformed-request"),
            (sasl("abort"), "aborted"),
            (sasl("response", "="), "malformed-request"),
        ],
    )
    def test_failures(self, item: Element, condition: str) -> None:
        """Each failure of 6.5 that needs no portal; the stream goes on."""
        stream = opened()
        assert sent(stream.receive(item)) == f"<failure xmlns='{ns.SASL}'><{condition}/></failure>"
        assert stream.state is State.OFFERED

    @pytest.mark.parametrize(
        "condition",
        ["not-authorized", "account-disabled", "credentials-expired", "temporary-auth-failure", "mechanism-too-weak"],
    )
    def test_refusals(self, condition: str) -> None:
        """What the portal says is told."""
        stream = opened()
        stream.receive(plain())
        assert f"<{condition}/>" in sent(stream.loginFailed(SASLFailure(condition)))

    def test_abort(self) -> None:
        """In the midst of an exchange (6.4.4)."""
        assert "<aborted/>" in sent(challenged().receive(sasl("abort")))

    def test_secondAuthDiscardsTheFirst(self) -> None:
        """RFC 6120 6.4.2."""
        stream = challenged()
        assert kinds(stream.receive(plain())) == ["Login"]

    def test_fiveTries(self) -> None:
        """Five answers, then the stream is over (6.4.5)."""
        stream = opened()
        for number in range(5):
            stream.receive(plain())
            asks = stream.loginFailed(SASLFailure("not-authorized"))
            assert "<not-authorized/>" in sent(asks)
            assert kinds(asks) == ([] if number < 4 else ["Close"])
        assert "<policy-violation" in sent(asks)

    def test_triesCountAcrossKinds(self) -> None:
        """Aborts and malformed requests count, so no stream can try for ever."""
        stream = opened(tries=2)
        stream.receive(sasl("abort"))
        assert kinds(stream.receive(sasl("auth", mechanism="NO"))) == ["Close"]

    @pytest.mark.parametrize("name", ["auth", "response", "abort"])
    def test_afterSuccess(self, name: str) -> None:
        """Authentication happens once."""
        assertFailed(binding().receive(sasl(name, mechanism="PLAIN")), "policy-violation")


class TestPreAuth:
    """In-band registration before authentication (XEP-0077)."""

    def test_delegated(self) -> None:
        """The host answers, and the stream goes on."""
        stream = opened()
        request = iq(Element(ns.REGISTER, "query"), "get")
        (ask,) = stream.receive(request)
        assert isinstance(ask, events.PreAuth)
        assert ask.iq is request
        assert stream.state is State.DECIDING
        assert "type='result'" in sent(stream.preAuthAnswered(Element(ns.CLIENT, "iq", {"type": "result"})))
        assert stream.state is State.OFFERED

    def test_notAfterAuthentication(self) -> None:
        """Between authentication and binding it is a stanza like any other."""
        assertFailed(binding().receive(iq(Element(ns.REGISTER, "query"))), "not-authorized")


class TestBind:
    """RFC 6120 section 7."""

    @pytest.mark.parametrize(("resource", "wanted"), [(None, None), ("", None), ("desk", "desk")])
    def test_bound(self, resource: str | None, wanted: str | None) -> None:
        """Chosen by the client or by us."""
        stream = binding()
        (ask,) = stream.receive(bindRequest(resource))
        assert isinstance(ask, events.Bind)
        assert ask.resource == wanted
        text = sent(stream.bound(JID.parse("alice@a.test/desk")))
        assert "type='result'" in text
        assert "id='i1'" in text
        assert f"<bind xmlns='{ns.BIND}'><jid>alice@a.test/desk</jid></bind>" in text
        assert stream.state is State.BOUND

    @pytest.mark.parametrize("condition", ["bad-request", "conflict", "resource-constraint", "not-allowed"])
    def test_refused(self, condition: str) -> None:
        """The client may try again (7.7.3)."""
        stream = binding()
        stream.receive(bindRequest("x"))
        text = sent(stream.bindFailed(StanzaError(condition)))
        assert f"<{condition} " in text
        assert "type='error'" in text
        assert stream.state is State.BINDING
        assert kinds(stream.receive(bindRequest("y"))) == ["Bind"]

    def test_notForEver(self) -> None:
        """Ten refusals are enough."""
        stream = binding()
        for _ in range(10):
            stream.receive(bindRequest("x"))
            asks = stream.bindFailed(StanzaError("conflict"))
        assert "<policy-violation" in sent(asks)
        assert kinds(asks) == ["Close"]

    def test_badRequests(self) -> None:
        """A bind of the wrong type, without id, or with company."""
        for request in (
            iq(Element(ns.BIND, "bind"), "get"),
            iq(Element(ns.BIND, "bind"), id=""),
            Element(ns.CLIENT, "iq", {"type": "set", "id": "a"}, Element(ns.BIND, "bind"), Element("urn:x", "y")),
        ):
            assert "<bad-request " in sent(binding().receive(request))


class TestResume:
    """XEP-0198 section 5."""

    def resume(self, **attrs: str) -> Element:
        """A resume request."""
        return Element(ns.SM, "resume", attrs)

    def test_resumed(self) -> None:
        """The session says resumed itself."""
        stream = binding()
        (ask,) = stream.receive(self.resume(previd="p", h="4294967295"))
        assert isinstance(ask, events.Resume)
        assert (ask.previd, ask.h) == ("p", 4294967295)
        assert stream.resumed(ALICE.withResource("r")) == []
        assert stream.state is State.BOUND

    @pytest.mark.parametrize(("h", "attribute"), [(None, ""), (7, " h='7'")])
    def test_failed(self, h: int | None, attribute: str) -> None:
        """The client may bind now."""
        stream = binding()
        stream.receive(self.resume(previd="p", h="0"))
        text = sent(stream.resumeFailed("item-not-found", h))
        assert text == f"<failed xmlns='{ns.SM}'{attribute}><item-not-found xmlns='{ns.STANZA_ERRORS}'/></failed>"
        assert kinds(stream.receive(bindRequest())) == ["Bind"]

    @pytest.mark.parametrize("attrs", [{}, {"previd": "x"}, {"h": "1"}, {"previd": "", "h": "1"},
                                       {"previd": "x", "h": "abc"}, {"previd": "x", "h": "9" * 100000}])  # fmt: skip
    def test_malformed(self, attrs: dict[str, str]) -> None:
        """An h that is no number does not even get converted (hardening X13)."""
        assertFailed(binding().receive(self.resume(**attrs)), "invalid-xml")

    def test_beforeAuthentication(self) -> None:
        """Out of order, but not fatal."""
        assert "<unexpected-request " in sent(opened().receive(self.resume(previd="x", h="0")))
