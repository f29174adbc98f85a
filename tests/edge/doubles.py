"""A host, accounts and sessions for tests of the edge; each implements its interface."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from xmppservice.edge.c2s import C2SFactory
from xmppservice.edge.certificates import makeDevelopmentCertificate
from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import TLSProvider
from xmppservice.hub.contracts.auth import ICertificate, IScramCredentials, IScramSecrets
from xmppservice.hub.contracts.stream import (
    IAccount,
    IClosingSession,
    IProbingSession,
    ISession,
    IStream,
    IStreamHost,
    ResumeFailed,
)
from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.sasl.credentials import deriveKeys
from xmppservice.protocol.stanza import resultFor
from xmppservice.wire import ns
from xmppservice.wire.element import Element

HOST = "example.com"
PASSWORD = b"secret"
SALT, ITERATIONS = b"salt" * 4, 64


@implementer(IProbingSession, IClosingSession)
class RecordingSession:
    """Keeps what it is told; `onReceive` may do more."""

    def __init__(self, jid: JID, stream: Any) -> None:
        self.jid = jid
        self.stream = stream
        self.received: list[Element] = []
        self.calls: list[str] = []
        self.onReceive: Callable[[Element], object] | None = None

    def receive(self, element: Element) -> None:
        """Keep the element."""
        self.received.append(element)
        if self.onReceive is not None:
            self.onReceive(element)

    def streamLost(self) -> None:
        """Keep the call."""
        self.calls.append("lost")

    def streamClosed(self) -> None:
        """Keep the call."""
        self.calls.append("closed")

    def probe(self) -> bool:
        """Ask as with XEP-0198."""
        self.calls.append("probe")
        self.stream.send(b"<r xmlns='urn:xmpp:sm:3'/>")
        return True

    def prepareShutdown(self) -> None:
        """Give the last acknowledgement."""
        self.calls.append("shutdown")
        self.stream.send(b"<a xmlns='urn:xmpp:sm:3' h='0'/>")


@implementer(ISession)
class QuietSession:
    """A session with nothing optional."""

    def __init__(self, jid: JID, stream: Any) -> None:
        self.jid = jid
        self.calls: list[str] = []

    def receive(self, element: Element) -> None:
        """Nothing."""

    def streamLost(self) -> None:
        """Keep the call."""
        self.calls.append("lost")

    def streamClosed(self) -> None:
        """Keep the call."""
        self.calls.append("closed")


@implementer(IAccount)
class RecordingAccount:
    """Binds anything but the resource "taken"; resumes only "good"."""

    def __init__(self, host: TestHost, local: str) -> None:
        self.host = host
        self.jid = JID.of(local, host.name)

    def bind(self, stream: IStream, resource: str | None) -> Deferred[Any]:
        """A new session, at once or when the test says so."""
        if resource == "taken":
            return fail(StanzaError("conflict"))
        if resource == "crash":
            return fail(RuntimeError("injected"))
        session = self.host.sessionType(self.jid.withResource(resource or "chosen"), stream)
        self.host.sessions.append(session)
        if self.host.slow:
            due: Deferred[Any] = Deferred()
            self.host.due.append((due, session))
            return due
        return succeed(session)

    def resume(self, stream: IStream, previd: str, h: int) -> Deferred[Any]:
        """The session says resumed itself."""
        if previd != "good":
            return fail(ResumeFailed("item-not-found", 7 if previd == "old" else None))
        session = self.host.sessionType(self.jid.withResource("former"), stream)
        self.host.sessions.append(session)
        stream.send(b"<resumed xmlns='urn:xmpp:sm:3' h='%d' previd='good'/>" % h)
        return succeed(session)


@implementer(ICredentialsChecker)
class OnePassword:
    """Everybody has the same password; the accounts "off" and "broken" show other failures."""

    credentialInterfaces = (IUsernamePassword, IScramCredentials, ICertificate)

    def requestAvatarId(self, credentials: Any) -> Any:
        """Judge."""
        if ICertificate.providedBy(credentials):
            return succeed(credentials.local.encode())
        if IScramCredentials.providedBy(credentials):
            good = credentials.verify(deriveKeys(credentials.mechanism, PASSWORD, SALT, ITERATIONS))
            return succeed(credentials.local.encode()) if good else fail(UnauthorizedLogin())
        if credentials.username == b"broken":
            return fail(RuntimeError("the store is down"))
        good = credentials.checkPassword(PASSWORD)
        return succeed(credentials.username) if good else fail(UnauthorizedLogin())


@implementer(IScramSecrets)
class SameSalt:
    """Salt and count for everybody."""

    def fetch(self, user: str, mechanism: str) -> Deferred[tuple[bytes, int]]:
        """At once."""
        return succeed((SALT, ITERATIONS))


@implementer(IStreamHost, IRealm)
class TestHost:
    """A virtual host with one password."""

    __test__ = False

    def __init__(self, name: str = HOST) -> None:
        self.name = name
        self.portal = Portal(self, [OnePassword()])
        self.secrets: Any = SameSalt()
        self.throttle: Any = None
        self.sessions: list[Any] = []
        self.sessionType: Any = RecordingSession
        self.slow = False
        self.due: list[tuple[Deferred[Any], Any]] = []
        self.logouts = 0
        self.extra: list[Element] = []
        self.preAuthAnswer: Callable[[Element], Any] | None = None

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        """An account for whoever was let in."""
        return IAccount, RecordingAccount(self, avatarId.decode()), self._logout

    def _logout(self) -> None:
        self.logouts += 1

    def streamFeatures(self, stage: str, stream: IStream) -> list[Element]:
        """Stream management after authentication."""
        return [Element(ns.SM, "sm")] if stage == "bind" else list(self.extra)

    def preAuth(self, iq: Element, stream: IStream) -> Deferred[Element]:
        """Registration, as the test wants it."""
        if self.preAuthAnswer is not None:
            return succeed(self.preAuthAnswer(iq))
        return succeed(resultFor(iq))


class Transport(StringTransport):
    """A StringTransport that closes when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.started: list[object] = []
        self.protocol: Any = None

    def loseConnection(self) -> None:
        """Remember; tests call `hangUp`."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Remember."""
        self.aborted = True
        self.disconnecting = True

    def startTLS(self, creator: object) -> None:
        """Remember."""
        self.started.append(creator)


class Peer:
    """A scripted peer over a string transport, with a driver and virtual time."""

    def __init__(self, tls: TLSProvider | None = None, host: TestHost | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.host = host or TestHost()
        settings.setdefault("tls", "required" if tls is not None else "optional")
        settings.setdefault("mechanisms", None)
        self.factory = C2SFactory(
            {HOST: self.host, "other.test": TestHost("other.test")}.get,
            HOST,
            StreamSettings(**settings),
            self.clock,
            tls,
        )
        self.transport = Transport()
        driver = self.factory.buildProtocol(None)
        assert isinstance(driver, StreamDriver)
        self.driver = driver
        driver.makeConnection(self.transport)

    def say(self, text: str | bytes) -> str:
        """Send, and return what comes back at once."""
        self.driver.dataReceived(text.encode() if isinstance(text, str) else text)
        return self.heard()

    def heard(self) -> str:
        """What the server has said since last time."""
        text = self.transport.value().decode()
        self.transport.clear()
        return text

    def advance(self, seconds: float) -> str:
        """Let time pass in the sweep's steps."""
        while seconds > 0:
            self.clock.advance(min(1.0, seconds))
            seconds -= 1.0
        return self.heard()

    @property
    def session(self) -> Any:
        """The latest session."""
        return self.host.sessions[-1]


def header(to: str = HOST, extra: str = "", version: str = "version='1.0'", content: str = "jabber:client") -> str:
    """A stream header."""
    return (
        f"<?xml version='1.0'?><stream:stream to='{to}' {version} xmlns='{content}'"
        f" xmlns:stream='http://etherx.jabber.org/streams'{extra}>"
    )


def b64(data: str | bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def auth(mechanism: str, data: str | bytes | None = None) -> str:
    """An auth element."""
    text = "" if data is None else b64(data)
    return f"<auth xmlns='{ns.SASL}' mechanism='{mechanism}'>{text}</auth>"


def response(data: str | bytes) -> str:
    """A response element."""
    return f"<response xmlns='{ns.SASL}'>{b64(data)}</response>"


def scramFinal(first: str, challenge: str, password: bytes = PASSWORD, channel: bytes = b"n,,") -> str:
    """The client's final SCRAM-SHA-1 message."""
    encoded = challenge.partition(">")[2].partition("<")[0]
    server = base64.b64decode(encoded).decode()
    parts = dict(part.split("=", 1) for part in server.split(","))
    salted = hashlib.pbkdf2_hmac("sha1", password, base64.b64decode(parts["s"]), int(parts["i"]))
    key = hmac.digest(salted, b"Client Key", "sha1")
    final = f"c={b64(channel)},r={parts['r']}"
    signature = hmac.digest(hashlib.sha1(key).digest(), f"{first},{server},{final}".encode(), "sha1")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    return f"{final},p={b64(proof)}"


def logIn(peer: Peer, user: str = "alice", password: bytes = PASSWORD) -> str:
    """Header and SCRAM; returns the answer to the proof."""
    peer.say(header())
    return authenticate(peer, user, password)


def authenticate(peer: Peer, user: str = "alice", password: bytes = PASSWORD) -> str:
    """SCRAM on an open stream."""
    first = f"n={user},r=abc"
    challenge = peer.say(auth("SCRAM-SHA-1", "n,," + first))
    return peer.say(response(scramFinal(first, challenge, password)))


def bind(resource: str = "", id: str = "b1") -> str:
    """A bind request."""
    wanted = f"<resource>{resource}</resource>" if resource else ""
    return f"<iq type='set' id='{id}'><bind xmlns='{ns.BIND}'>{wanted}</bind></iq>"


def boundPeer(**settings: Any) -> Peer:
    """A peer with a session."""
    peer = Peer(**settings)
    logIn(peer)
    peer.say(header())
    peer.say(bind("desk"))
    return peer


def provider(folder: Path, *hosts: str) -> TLSProvider:
    """Certificates for some hosts."""
    makeDevelopmentCertificate(folder, hosts or (HOST,))
    return TLSProvider(folder, hosts or (HOST,))
