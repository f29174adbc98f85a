"""Users whom only a checker of ``--auth`` knows: an account is made at their first login.

Such an account has no secrets of its own, so that SCRAM and stored passwords never let anybody in; it
owns a roster and offline messages like any other, and an administrator can disable or delete it. As the checker wants
the password itself, SCRAM cannot serve these users; clients would choose it all the same if it were offered.
So a server with such a checker offers PLAIN (under TLS only) to everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IAnonymous, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from xmppservice.auth.secrets import StoredSecrets
from xmppservice.hub.contracts.auth import LoginRefused
from xmppservice.hub.contracts.storage import AccountExists, IAccounts
from xmppservice.protocol.jid import InvalidJID, prepareLocal
from xmppservice.settings import Settings, SettingsError

_NO_SECRETS = StoredSecrets({}).encode()


def settingsWith(settings: Settings, checkers: Sequence[ICredentialsChecker]) -> Settings:
    """The settings as the checkers of ``--auth`` make them: which mechanisms can serve.

    Raises `SettingsError` if none can.
    """
    auth = settings.auth
    kinds = {interface for checker in checkers for interface in checker.credentialInterfaces}
    if IAnonymous in kinds:
        auth = attrs.evolve(auth, anonymous=True)
    if IUsernamePassword in kinds:
        if "PLAIN" not in auth.mechanisms:
            raise SettingsError("auth.mechanisms: --auth needs PLAIN, which is not among them")
        kept = tuple(name for name in auth.mechanisms if not name.startswith("SCRAM-"))
        auth = attrs.evolve(auth, mechanisms=kept)
    return attrs.evolve(settings, auth=auth)


@implementer(ICredentialsChecker)
class Enrolment:
    """Asks `checker`, and sees to it that whom it accepts has an account on the host `hostId`.

    `created` is told the local part of a new one, before the login goes on.
    """

    def __init__(
        self, checker: ICredentialsChecker, accounts: IAccounts, hostId: int, created: Callable[[str], object]
    ) -> None:
        self.credentialInterfaces = tuple(checker.credentialInterfaces)
        self._checker = checker
        self._accounts = accounts
        self._hostId = hostId
        self._created = created

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Fire with the checker's answer once the account is there."""
        # Some answer at once, whatever the interface says.
        ask: Callable[[Any], Any] = self._checker.requestAvatarId
        return maybeDeferred(ask, credentials).addCallback(self._accepted)

    async def _enrol(self, avatarId: bytes | str) -> bytes:
        try:
            local = prepareLocal(avatarId.decode("utf-8") if isinstance(avatarId, bytes) else avatarId)
        except (InvalidJID, UnicodeDecodeError):
            raise UnauthorizedLogin("the name cannot be part of an address") from None
        found = await self._accounts.secrets(self._hostId, local)
        if found is None:
            try:
                await self._accounts.create(self._hostId, local, _NO_SECRETS)
                self._created(local)
            except AccountExists:
                # The same user logs in twice at the same moment.
                pass
        elif not found.enabled:
            raise LoginRefused("account-disabled")
        return local.encode("utf-8")

    def _accepted(self, avatarId: Any) -> Any:
        """A guest, whom an empty tuple stands for, has nothing that is kept."""
        return Deferred.fromCoroutine(self._enrol(avatarId)) if avatarId != () else avatarId
