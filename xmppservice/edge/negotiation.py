"""From connection to session: performs what the stream machine asks of its driver.

A `Negotiation` lives from the first byte to the bound session and is dropped then, with
machine, avatar and all; a bound stream keeps only the logout.

The driver gives it one item of the parser at a time. An ask that needs an answer holds
the driver's input until the answer is there, so order is kept whatever takes how long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from xmppservice.edge.login import Avatar, accountOf, fetchSecrets, judge, saslFailure
from xmppservice.hub.contracts.stream import ISession, ResumeFailed
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.stanza import errorFor
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import StreamBase
from xmppservice.protocol.stream.machine import StreamMachine
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from xmppservice.edge.driver import StreamDriver

Answer = Callable[[Any], object]


class Negotiation:
    """The machine of one stream, with the hands it needs. `performs` has a method for each kind of ask but `Send`."""

    __slots__ = ("_fresh", "claimed", "driver", "machine", "over")

    performs: ClassVar[dict[type, Callable[[Any, Any], None]]]
    machine: StreamBase

    def __init__(self, driver: StreamDriver, machine: StreamBase) -> None:
        self.driver = driver
        self.machine = machine
        #: Whom the peer claims to be, for the log.
        self.claimed = ""
        self.over = False
        self._fresh = True

    # -- what the driver calls ------------------------------------------------------------

    def begin(self) -> None:
        """Data has come, perhaps the first."""
        if self._fresh:
            self._fresh = False
            self.driver.identify()

    def take(self, item: object) -> None:
        """Take one item of the parser."""
        self.perform(self.machine.receive(item))

    def fail(self, error: StreamError) -> None:
        """End the stream with an error."""
        self.perform(self.machine.fail(error))

    def close(self, expected: bool) -> None:
        """End the stream in peace."""
        self.perform(self.machine.close(expected))

    def lost(self, reason: Failure) -> None:
        """The connection is gone before there was a session."""

    # -- what the machine asks ------------------------------------------------------------

    def perform(self, asks: list[events.Ask]) -> None:
        """Do what is asked, in order."""
        self.driver.id = self.machine.id
        for ask in asks:
            if isinstance(ask, events.Send):
                self.driver.send(ask.data)
                if isinstance(ask, events.Refuse):
                    self._refused(ask)
            else:
                self.performs[type(ask)](self, ask)

    def _refused(self, ask: events.Refuse) -> None:
        driver, claimed = self.driver, self.claimed
        self.claimed = ""
        driver.factory.report.refused(driver, ask.mechanism, claimed, ask.condition)

    def _wait(self, due: Deferred[Any], answered: Answer, failed: Answer) -> None:
        """Hold the input until `due` has its result."""
        driver = self.driver
        driver.hold()
        due.addBoth(driver.answered)
        due.addCallbacks(answered, failed)
        due.addErrback(driver.fault)
        due.addBoth(lambda _: driver.release())

    def _done(self, session: ISession) -> None:
        self.over = True
        self.driver.attach(session)

    def _close(self, ask: events.Close) -> None:
        self.over = True
        self.driver.factory.report.ended(self.driver, None, ask.error)
        self.driver.letGo(ask.expected)


class SecuringNegotiation(Negotiation):
    """One that knows TLS."""

    __slots__ = ("_securing",)

    def __init__(self, driver: StreamDriver, machine: StreamBase, securing: bool) -> None:
        super().__init__(driver, machine)
        #: A TLS handshake is under way; the first bytes that come through it prove it done.
        self._securing = securing

    def begin(self) -> None:
        """Data has come: if TLS was being started, it protects the stream now."""
        super().begin()
        if self._securing:
            self._securing = False
            self.driver.secure = True
            self._secured()

    def _secured(self) -> None:
        """The handshake is done."""
        raise NotImplementedError

    def _certifiedName(self) -> str:
        """The domain whose certificate is shown."""
        raise NotImplementedError

    def _smuggled(self) -> bool:
        """Hardening T01: nothing unprotected may follow, but the line end that go-xmpp sends."""
        return bool(self.driver.remainder().strip(b" \t\r\n"))

    def _startTLS(self, ask: events.StartTLS) -> None:
        """RFC 6120 5.4.2.3."""
        driver = self.driver
        if self._smuggled():
            self.fail(StreamError("policy-violation", "data behind <starttls/>"))
            return
        driver.send(ask.proceed)
        driver.flush()
        driver.restart(driver.factory.settings.preAuth)
        self._securing = True
        driver.openOutlet(driver.factory.startTLS(driver, self._certifiedName()))


class ClientNegotiation(SecuringNegotiation):
    """TLS, SASL, and a bound or resumed session."""

    __slots__ = ("avatar",)

    machine: StreamMachine

    def __init__(self, driver: StreamDriver, machine: StreamMachine, securing: bool) -> None:
        super().__init__(driver, machine, securing)
        self.avatar: Any = None

    def _secured(self) -> None:
        driver = self.driver
        tls = driver.factory.tls
        if tls is not None:
            self.machine.secured(tls.bindings(driver.transport), tls.clientCertificate(driver.transport))

    def _certifiedName(self) -> str:
        assert self.machine.host is not None
        return self.machine.host.name

    def _restart(self, ask: events.Restart) -> None:
        """The peer is authenticated and begins a new stream, with the limits of known peers."""
        driver = self.driver
        driver.restart(driver.factory.settings.authenticated)
        driver.factory.authenticated(driver)

    def _fetchSecrets(self, ask: events.FetchSecrets) -> None:
        self.claimed = ask.user
        self._wait(fetchSecrets(self.driver, ask.user, ask.mechanism), self._secretsFetched, self._loginFailed)

    def _secretsFetched(self, answer: tuple[bytes, int]) -> None:
        self.perform(self.machine.secretsFetched(*answer))

    def _login(self, ask: events.Login) -> None:
        self.claimed = accountOf(ask.credentials)
        self._wait(judge(self.driver, ask.credentials), self._loggedIn, self._loginFailed)

    def _loggedIn(self, answer: Avatar) -> None:
        _, avatar, logout = answer
        if self.over:
            logout()
            return
        self.avatar = avatar
        self.driver.setLogout(logout)
        self.driver.factory.report.loggedIn(self.driver, self.machine.mechanism, avatar.jid)
        self.perform(self.machine.loggedIn(avatar.jid))

    def _loginFailed(self, failure: Failure) -> None:
        self.perform(self.machine.loginFailed(saslFailure(failure)))

    def _preAuth(self, ask: events.PreAuth) -> None:
        driver = self.driver
        answer = maybeDeferred(driver.factory.hostOf(driver).preAuth, ask.iq, driver)

        def failed(failure: Failure) -> None:
            error = failure.value
            reply = errorFor(ask.iq, error) if isinstance(error, StanzaError) else None
            if reply is None:
                driver.fault(failure)
            else:
                self._preAuthAnswered(reply)

        self._wait(answer, self._preAuthAnswered, failed)

    def _preAuthAnswered(self, reply: Element) -> None:
        self.perform(self.machine.preAuthAnswered(reply))

    def _bind(self, ask: events.Bind) -> None:
        due = maybeDeferred(self._bindNow, ask.resource)
        self._wait(due, self._bound, self._bindFailed)

    def _bindNow(self, resource: str | None) -> Deferred[ISession]:
        """A session is new work: none while memory runs out. One that is resumed exists already."""
        factory = self.driver.factory
        if factory.shedding:
            factory.refuse("memory")
            raise StanzaError("resource-constraint", type="wait", text="the server is short of memory")
        session: Deferred[ISession] = self.avatar.bind(self.driver, resource)
        return session

    def _bound(self, session: ISession) -> None:
        if self.over:
            session.streamLost()
            return
        self.perform(self.machine.bound(session.jid))
        self._done(session)

    def _bindFailed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, StanzaError):
            self.perform(self.machine.bindFailed(error))
        else:
            self.driver.fault(failure)

    def _resume(self, ask: events.Resume) -> None:
        resumption = maybeDeferred(self.avatar.resume, self.driver, ask.previd, ask.h)
        self._wait(resumption, self._resumed, self._resumeFailed)

    def _resumed(self, session: ISession) -> None:
        if self.over:
            session.streamLost()
            return
        self.perform(self.machine.resumed(session.jid))
        self._done(session)

    def _resumeFailed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, ResumeFailed):
            self.perform(self.machine.resumeFailed(error.condition, error.h))
        else:
            self.driver.fault(failure)

    performs: ClassVar = {
        events.StartTLS: SecuringNegotiation._startTLS,
        events.Restart: _restart,
        events.FetchSecrets: _fetchSecrets,
        events.Login: _login,
        events.PreAuth: _preAuth,
        events.Bind: _bind,
        events.Resume: _resume,
        events.Close: Negotiation._close,
    }
