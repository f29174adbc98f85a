"""The Cred realm of one virtual host: from an avatar id to the account's avatar."""

from __future__ import annotations

import secrets as _random
from collections.abc import Callable
from typing import TypeAlias

from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, fail
from zope.interface import Interface, implementer

from xmppservice.hub.contracts.auth import LoginRefused
from xmppservice.hub.contracts.stream import IAccount
from xmppservice.protocol.jid import prepareLocal

#: Takes a prepared localpart; fires with the account's avatar, or with None if there is no such account.
Accounts: TypeAlias = Callable[[str], "Deferred[IAccount | None]"]
#: What Portal.login fires with: interface, avatar, logout.
Login: TypeAlias = "tuple[type[Interface], object, Callable[[], None]]"


@implementer(IRealm)
class Realm:
    """Looks up accounts with `accounts`, and guests with `guests` if there may be any.

    `released` is called at logout with the avatar and the mind (the stream) that had logged in.
    """

    def __init__(
        self,
        accounts: Accounts,
        guests: Accounts | None = None,
        released: Callable[[IAccount, object], None] | None = None,
    ) -> None:
        self._accounts = accounts
        self._guests = guests
        self._released = released

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> Deferred[Login]:
        """See IRealm.requestAvatar; the only interface is IAccount."""
        if IAccount not in interfaces:
            raise NotImplementedError("this realm has IAccount only")
        look = self._accounts
        if avatarId == ():
            if self._guests is None:
                return fail(LoginRefused("not-authorized"))
            look, local = self._guests, _random.token_hex(16)
        else:
            # Any Twisted checker may be behind this, so its answer is prepared like a client's.
            local = prepareLocal(bytes(avatarId).decode("utf-8"))
        return look(local).addCallback(self._found, mind)

    def _found(self, avatar: IAccount | None, mind: object) -> Login:
        if avatar is None:
            raise LoginRefused("not-authorized")
        found = avatar

        def logout() -> None:
            if self._released is not None:
                self._released(found, mind)

        return IAccount, found, logout
