"""Credentials checkers over stored SCRAM keys and for certificates (Twisted Cred).

Each yields the prepared localpart in UTF-8 as avatar id. Nothing is said about an account until
the proof is right: a wrong one is UnauthorizedLogin, the same for a disabled account as for none.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, DeferredSemaphore, fail, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from xmppservice.auth.keyring import Entry, Keyring
from xmppservice.auth.secrets import BadPassword, HashSecrets, preparePassword
from xmppservice.hub.contracts.auth import ICertificate, ICredentialStore, IScramCredentials, LoginRefused, StoredRecord
from xmppservice.protocol.jid import prepareLocal
from xmppservice.protocol.sasl.credentials import deriveKeys

#: Runs a function elsewhere and fires with its result: `deferToThread`, or a direct call in tests.
Runner: TypeAlias = Callable[..., Deferred[Any]]
#: What checkers fire with; the empty tuple is a guest.
AvatarId: TypeAlias = "bytes | tuple[()]"

#: Which stored hash a password is checked with: the cheap and strong one first.
_PASSWORD_HASHES = ("SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-512")


def _admit(local: str, right: bool, known: bool, enabled: bool) -> AvatarId:
    """Turn a verdict into an avatar id. Only who gave the right proof hears that the account is disabled."""
    if not (right and known):
        raise UnauthorizedLogin()
    if not enabled:
        raise LoginRefused("account-disabled")
    return local.encode("utf-8")


@implementer(ICredentialsChecker)
class ScramChecker:
    """Verifies SCRAM proofs with the stored keys."""

    credentialInterfaces = (IScramCredentials,)

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def requestAvatarId(self, credentials: IScramCredentials) -> Deferred[AvatarId]:
        """Fire with the avatar id; the credentials then hold the server signature."""
        return self._keyring.entry(credentials.local, (credentials.mechanism,)).addCallback(self._verify, credentials)

    def _verify(self, entry: Entry, credentials: IScramCredentials) -> AvatarId:
        right = credentials.verify(entry.secrets.keys)
        return _admit(credentials.local, right, entry.known, entry.enabled)


@implementer(ICredentialsChecker)
class PasswordChecker:
    """Verifies passwords by deriving the stored keys again, in threads, few at once.

    `run` runs the derivation; `parallel` at once, and no more than `waiting` may wait for their turn, so that
    a flood of passwords costs neither the reactor nor memory.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, keyring: Keyring, run: Runner, parallel: int = 2, waiting: int = 256) -> None:
        self._keyring = keyring
        self._run = run
        self._turns = DeferredSemaphore(parallel)
        self._waiting = waiting

    def requestAvatarId(self, credentials: IUsernamePassword) -> Deferred[AvatarId]:
        """Fire with the avatar id."""
        try:
            local = prepareLocal(credentials.username.decode("utf-8"))
            password = preparePassword(credentials.password.decode("utf-8"))
        except (BadPassword, ValueError):
            return fail(UnauthorizedLogin())
        if len(self._turns.waiting) >= self._waiting:
            return fail(LoginRefused("temporary-auth-failure"))
        return self._keyring.entry(local, _PASSWORD_HASHES).addCallback(self._derive, local, password)

    def _derive(self, entry: Entry, local: str, password: bytes) -> Deferred[AvatarId]:
        done = self._turns.run(self._run, _passwordFits, entry.mechanism, password, entry.secrets)
        return done.addCallback(lambda right: _admit(local, right, entry.known, entry.enabled))


def _passwordFits(mechanism: str, password: bytes, secrets: HashSecrets) -> bool:
    keys = deriveKeys(mechanism, password, secrets.salt, secrets.iterations)
    return hmac.compare_digest(keys.storedKey, secrets.keys.storedKey)


@implementer(ICredentialsChecker)
class CertificateChecker:
    """Accepts trusted certificates for the accounts they name (XEP-0178)."""

    credentialInterfaces = (ICertificate,)

    def __init__(self, store: ICredentialStore) -> None:
        self._store = store

    def requestAvatarId(self, credentials: ICertificate) -> Deferred[AvatarId]:
        """Fire with the avatar id if the account exists and the chain was verified."""
        if not credentials.certificate.trusted:
            return fail(UnauthorizedLogin())
        return self._store.secrets(credentials.local).addCallback(self._judge, credentials.local)

    def _judge(self, record: StoredRecord | None, local: str) -> AvatarId:
        return _admit(local, True, record is not None, record is not None and record.enabled)


@implementer(ICredentialsChecker)
class FirstOf:
    """Asks several checkers for the same kind of credentials in turn; the first that accepts wins."""

    def __init__(self, checkers: Sequence[ICredentialsChecker], interface: type[Interface]) -> None:
        self.credentialInterfaces = (interface,)
        self._checkers = tuple(checkers)

    def requestAvatarId(self, credentials: Any) -> Deferred[AvatarId]:
        """Fire with the avatar id of the first acceptance, or fail as the last checker did."""
        return self._ask(0, credentials)

    def _ask(self, index: int, credentials: Any) -> Deferred[AvatarId]:
        # Stock checkers may also answer at once, whatever the interface says.
        ask: Callable[[Any], Deferred[AvatarId]] = self._checkers[index].requestAvatarId
        answer = maybeDeferred(ask, credentials)
        if index + 1 < len(self._checkers):
            answer.addErrback(self._next, index + 1, credentials)
        return answer

    def _next(self, failure: Failure, index: int, credentials: Any) -> Deferred[AvatarId]:
        failure.trap(UnauthorizedLogin)
        return self._ask(index, credentials)
