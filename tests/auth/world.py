"""A virtual host's portal over a store in memory, and a driver that plays the stream's part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.cred.checkers import AllowAnonymousAccess, ICredentialsChecker
from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from xmppservice.auth.checkers import CertificateChecker, PasswordChecker, ScramChecker
from xmppservice.auth.keyring import Keyring
from xmppservice.auth.portal import portalFor
from xmppservice.auth.realm import Realm
from xmppservice.auth.secrets import makeSecrets
from xmppservice.hub.contracts.auth import ICredentialStore, StoredRecord
from xmppservice.hub.contracts.stream import IAccount, ISession, IStream
from xmppservice.protocol.jid import JID
from xmppservice.protocol.sasl.mechanism import Mechanism, SASLContext
from xmppservice.protocol.sasl.registry import mechanismFor
from xmppservice.protocol.sasl.steps import Challenge, Credentials, NeedSecrets, Success

HOST = "example.com"
COUNT = 16
DECOY_KEY = bytes(range(32))


@implementer(ICredentialStore)
class MemoryStore:
    """The stored records, by localpart."""

    def __init__(self) -> None:
        self.records: dict[str, StoredRecord] = {}
        self.error: Exception | None = None

    def add(self, local: str, password: str, enabled: bool = True) -> None:
        """Make an account."""
        self.records[local] = StoredRecord(enabled, makeSecrets(password, COUNT).encode())

    def secrets(self, local: str) -> Deferred[StoredRecord | None]:
        """See ICredentialStore.secrets."""
        if self.error is not None:
            raise self.error
        return succeed(self.records.get(local))


@implementer(IAccount)
class Avatar:
    """An account that only has a name."""

    def __init__(self, local: str) -> None:
        self.jid = JID.of(local, HOST)

    def bind(self, stream: IStream, resource: str | None) -> Deferred[ISession]:
        """See IAccount.bind."""
        raise NotImplementedError

    def resume(self, stream: IStream, previd: str, h: int) -> Deferred[ISession]:
        """See IAccount.resume."""
        raise NotImplementedError


def runHere(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """Stand in for deferToThread."""
    return execute(function, *args)


class World:
    """Two accounts, alice (secret) and carol (secret, disabled), and a way to log in."""

    def __init__(self, extra: Iterable[ICredentialsChecker] = ()) -> None:
        self.store = MemoryStore()
        self.store.add("alice", "secret")
        self.store.add("carol", "secret", enabled=False)
        self.keyring = Keyring(self.store, DECOY_KEY, COUNT)
        self.released: list[tuple[str, object]] = []
        self.realm = Realm(
            self.account,
            guests=lambda local: succeed(Avatar(local)),
            released=lambda avatar, mind: self.released.append((avatar.jid.full, mind)),
        )
        own: list[ICredentialsChecker] = [
            ScramChecker(self.keyring),
            PasswordChecker(self.keyring, runHere),
            CertificateChecker(self.store),
            AllowAnonymousAccess(),
        ]
        self.portal = portalFor(self.realm, own, extra)

    def account(self, local: str) -> Deferred[IAccount | None]:
        """Look up an account; nobody at all is called dave."""
        return succeed(None if local == "dave" else Avatar(local))

    def login(self, name: str, context: SASLContext, *messages: Any) -> tuple[JID, bytes | None]:
        """Run one exchange; a callable message is given the challenge. Returns the JID and the success data.

        Whatever refuses the login is raised.
        """
        machine = mechanismFor(name, context)
        challenge = b""
        step: object = None
        for message in messages:
            step = machine.respond(message(challenge) if callable(message) else message)
            if isinstance(step, NeedSecrets):
                step = machine.secrets(*result(self.keyring.fetch(step.user, step.mechanism)))
            if isinstance(step, Challenge):
                challenge = step.data
        assert isinstance(step, Credentials), step
        return self.enter(machine, step)

    def enter(self, machine: Mechanism, step: Credentials) -> tuple[JID, bytes | None]:
        """Take credentials to the portal."""
        _, avatar, self.logout = result(self.portal.login(step.credentials, "mind", IAccount))
        success = machine.accepted()
        assert isinstance(success, Success)
        return avatar.jid, success.data


def result(deferred: Deferred[Any]) -> Any:
    """Return what a Deferred has fired with, or raise what it failed with."""
    results: list[Any] = []
    failures: list[Any] = []
    deferred.addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    return results[0]
