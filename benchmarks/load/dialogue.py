"""The opening of a session, written as a generator that waits for byte patterns."""

import base64
import re
import ssl
from collections.abc import Callable, Generator
from dataclasses import dataclass

from benchmarks.load.link import Link, LoadError, Loop
from benchmarks.load.scram import Scram

Pattern = re.Pattern[bytes]
#: A generator yields the pattern it waits for (None: the TLS handshake) and is sent everything up to its end.
Script = Generator[Pattern | None, bytes, None]

FEATURES = re.compile(rb"</stream:features>|<stream:features[^>]*/>")
PROCEED = re.compile(rb"<proceed[^>]*>|<failure[^>]*>")
CHALLENGE = re.compile(rb"<challenge[^>]*>([^<]*)</challenge>|<failure.*?</failure>", re.S)
SUCCESS = re.compile(rb"<success[^>]*>([^<]*)</success>|<success[^>]*/>|<failure.*?</failure>", re.S)
IQ = re.compile(rb"<iq\s[^>]*/>|</iq>")
ENABLED = re.compile(rb"<enabled[^>]*>|<failed.*?</failed>", re.S)
RESULT = re.compile(rb"\stype=['\"]result['\"]")
JID = re.compile(rb"<jid>([^<]+)</jid>")
PRESENCE = re.compile(rb"<presence\s[^>]*?from=['\"]([^'\"]*)['\"][^>]*>")
#: The start of any stanza; nothing the benchmarks send nests one stanza in another.
STANZA = re.compile(rb"<(?:message|presence|iq)[\s/>]")
ASKED = re.compile(rb"<r(?:\s[^>]*)?/>")
STREAM_ERROR = b"<stream:error"
CLOSED = re.compile(rb"</stream:stream>")


@dataclass(frozen=True)
class Service:
    """An external component that the server expects and the generator plays (XEP-0114)."""

    domain: str
    port: int
    secret: str


@dataclass
class Target:
    """Where the server is and how to speak to it; ``tls`` is "none", "starttls" or "direct"."""

    host: str
    port: int
    tlsPort: int
    domain: str
    password: str
    tls: str = "none"
    mechanism: str = "SCRAM-SHA-1"
    service: Service | None = None


def clientContext() -> ssl.SSLContext:
    """A TLS client context that verifies nothing and resumes nothing: the server is our own, on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["xmpp-client"])
    return context


class Dialogue:
    """Runs a script on a link and calls ``finished`` with what was read too much."""

    __slots__ = ("_buffer", "_finished", "_link", "_script", "_wanted")

    def __init__(self, link: Link, script: Script, finished: Callable[[bytes], None]) -> None:
        self._link = link
        self._script = script
        self._finished = finished
        self._buffer = b""
        link.ready = self._readable
        self._wanted = next(script)
        self._advance()

    def _readable(self) -> None:
        if self._wanted is not None:
            self._buffer += self._link.read()
        self._advance()

    def _advance(self) -> None:
        """Feed the script as long as it finds what it waits for."""
        try:
            while True:
                if self._wanted is None:
                    if not self._link.handshake():
                        return
                    self._wanted = self._script.send(b"")
                    continue
                match = self._wanted.search(self._buffer)
                if match is None:
                    if STREAM_ERROR in self._buffer:
                        raise LoadError(f"stream error: {self._buffer[-300:]!r}")
                    return
                text, self._buffer = self._buffer[: match.end()], self._buffer[match.end() :]
                self._wanted = self._script.send(text)
        except StopIteration:
            self._finished(self._buffer)


@dataclass
class Session:
    """An account's session: its link, what it is called and how it opens and closes."""

    loop: Loop
    target: Target
    context: ssl.SSLContext
    user: str
    resource: str = "bench"
    sm: bool = False
    presence: bytes = b"<presence/>"
    roster: bytes = b""
    #: what came after the roster up to our own presence: some servers send kept messages before it
    early: bytes = b""
    rest: bytes = b""
    #: stanzas sent and received since <enabled/>
    sent: int = 0
    received: int = 0
    #: reads since the session opened
    heard: int = 0

    def __post_init__(self) -> None:
        self.jid = f"{self.user}@{self.target.domain}/{self.resource}".encode()
        self.open = False

    def start(self, finished: Callable[["Session"], None]) -> None:
        """Connect and log in; ``finished(self)`` once the presence has been echoed."""
        target = self.target
        self.link = Link(self.loop, target.host, target.tlsPort if target.tls == "direct" else target.port)

        def opened(rest: bytes) -> None:
            self.rest = rest
            self.open = True
            finished(self)

        Dialogue(self.link, self._login(), opened)

    def end(self, finished: Callable[["Session"], None]) -> None:
        """Close the stream and the connection; ``finished(self)`` when the server has closed its side."""
        self.open = False

        def closed(rest: bytes) -> None:
            self.link.close()
            finished(self)

        Dialogue(self.link, self._close(), closed)

    def _header(self) -> bytes:
        return (
            f"<?xml version='1.0'?><stream:stream to='{self.target.domain}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>"
        ).encode()

    def _login(self) -> Script:
        """Stream, TLS, SASL, bind, stream management, roster, presence."""
        link, header = self.link, self._header()
        if self.target.tls == "direct":
            link.wrap(self.context)
            yield None
        link.write(header)
        features = yield FEATURES
        if self.target.tls == "starttls":
            link.write(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            _require(b"<proceed" in (yield PROCEED), "STARTTLS refused")
            link.wrap(self.context)
            yield None
            link.write(header)
            features = yield FEATURES
        yield from self._authenticate(features)
        link.write(header)
        yield FEATURES
        yield from self._establish()

    def _authenticate(self, features: bytes) -> Script:
        """SASL with the target's mechanism."""
        name = self.target.mechanism
        _require(f">{name}<".encode() in features, f"{name} is not offered: {features[-400:]!r}")
        auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{name}'>".encode()
        if name == "PLAIN":
            word = base64.b64encode(f"\0{self.user}\0{self.target.password}".encode())
            self.link.write(auth + word + b"</auth>")
            _require(b"<success" in (yield SUCCESS), "authentication failed")
            return
        exchange = Scram(self.user, self.target.password)
        self.link.write(auth + exchange.first() + b"</auth>")
        match = CHALLENGE.search((yield CHALLENGE))
        _require(match is not None and match[1] is not None, f"{self.user}: authentication refused")
        assert match is not None
        answer = exchange.final(match[1])
        self.link.write(b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + answer + b"</response>")
        match = SUCCESS.search((yield SUCCESS))
        _require(match is not None and match[1] is not None, f"{self.user}: authentication failed")
        assert match is not None
        _require(exchange.verify(match[1]), "the server's signature is wrong")

    def _establish(self) -> Script:
        """Bind, <enable/>, roster and presence."""
        link = self.link
        link.write(
            b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>"
            + self.resource.encode()
            + b"</resource></bind></iq>"
        )
        bound = JID.search((yield IQ))
        _require(bound is not None, f"{self.user}: bind failed")
        assert bound is not None
        self.jid = bound[1]
        if self.sm:
            link.write(b"<enable xmlns='urn:xmpp:sm:3'/>")
            _require(b"<enabled" in (yield ENABLED), "stream management refused")
        link.write(b"<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
        self.roster = yield IQ
        _require(RESULT.search(self.roster) is not None, f"no roster: {self.roster[-300:]!r}")
        link.write(self.presence)
        self.sent = 2
        # Our own presence comes back to us (RFC 6121 section 4.2.2), perhaps after that of contacts.
        while True:
            self.early += (text := (yield PRESENCE))
            match = PRESENCE.search(text)
            if match is not None and match[1] == self.jid:
                break
        if self.sm:
            seen = self.roster + self.early
            self.received = len(STANZA.findall(seen))
            if ASKED.search(seen):
                link.write(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % self.received)

    def _close(self) -> Script:
        self.link.write(b"</stream:stream>")
        yield CLOSED


def _require(truth: bool, problem: str) -> None:
    if not truth:
        raise LoadError(problem)
