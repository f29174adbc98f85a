"""Stock Twisted checkers behind PLAIN: they disagree on whether names and passwords are octets or text.

A password file is read as octets, while what `--auth memory:alice:secret` makes compares text with text. So a
refusal of the one form is followed by a question in the other.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import classImplements, implementer

from xmppservice.auth.checkers import AvatarId


class TextCredentials:
    """User name and password as text."""

    __slots__ = ("password", "username")

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self.password = password

    def checkPassword(self, password: bytes | str) -> bool:
        """Compare with a password kept in the clear."""
        kept = password.encode("utf-8") if isinstance(password, str) else password
        return hmac.compare_digest(self.password.encode("utf-8"), kept)


classImplements(TextCredentials, IUsernamePassword)


@implementer(ICredentialsChecker)
class StockChecker:
    """Asks `checker` with octets, then with text; takes either for an avatar id."""

    def __init__(self, checker: ICredentialsChecker) -> None:
        self.credentialInterfaces = tuple(checker.credentialInterfaces)
        self._checker = checker

    def requestAvatarId(self, credentials: Any) -> Deferred[AvatarId]:
        """Fire with the avatar id, as octets."""
        answer = self._ask(credentials)
        if IUsernamePassword.providedBy(credentials):
            answer.addErrback(self._askAgain, credentials)
        return answer.addCallback(_asOctets)

    def _ask(self, credentials: Any) -> Deferred[AvatarId | str]:
        # Some answer at once, whatever the interface says.
        ask: Callable[[Any], Any] = self._checker.requestAvatarId
        return maybeDeferred(ask, credentials)

    def _askAgain(self, failure: Failure, credentials: Any) -> Deferred[AvatarId | str]:
        failure.trap(UnauthorizedLogin)
        try:
            text = TextCredentials(credentials.username.decode("utf-8"), credentials.password.decode("utf-8"))
        except UnicodeDecodeError:
            raise UnauthorizedLogin() from None
        return self._ask(text)


def _asOctets(avatarId: AvatarId | str) -> AvatarId:
    return avatarId.encode("utf-8") if isinstance(avatarId, str) else avatarId
