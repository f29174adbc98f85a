"""What logging in needs: credentials, where secrets come from, and how a refusal is told (RFC 6120 section 6).

The mechanisms of `protocol.sasl` yield plain objects; `auth.credentials` declares that they provide the
interfaces below, or stock Twisted's IUsernamePassword and IAnonymous, so that a Cred portal can route them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from xmppservice.protocol.sasl.credentials import ScramKeys


class LoginRefused(UnauthorizedLogin):
    """A checker or realm says no and says why; `condition` is one of RFC 6120 section 6.5."""

    def __init__(self, condition: str, text: str | None = None) -> None:
        super().__init__(condition)
        self.condition = condition
        self.text = text


class StoredRecord(NamedTuple):
    """What is stored for one account's logins; `secrets` is as `auth.secrets` encodes it."""

    enabled: bool
    secrets: bytes


class IScramCredentials(ICredentials):
    """A SCRAM proof (RFC 5802)."""

    local = Attribute("str: the prepared localpart of the authentication identity")
    mechanism = Attribute("str: the mechanism's name without -PLUS; says which keys to verify with")
    serverSignature = Attribute("bytes or None: set by a successful `verify`")

    def verify(keys: ScramKeys) -> bool:
        """Say whether the proof holds, in constant time; on success leave the server signature."""


class ICertificate(ICredentials):
    """The claim to an account by a client certificate that names it (XEP-0178)."""

    local = Attribute("str: the prepared localpart claimed")
    certificate = Attribute("ClientCertificate: what the TLS layer saw")


class IToken(ICredentials):
    """A bearer token; no mechanism of this release yields one, a checker may already be written for it."""

    local = Attribute("str: the prepared localpart claimed, or empty if the token alone says who")
    token = Attribute("bytes: the token as it came")


class IScramSecrets(Interface):
    """Answers a SCRAM machine's need for a salt."""

    def fetch(user: str, mechanism: str) -> Deferred[tuple[bytes, int]]:
        """Return salt and iteration count of `user` (a prepared localpart) for `mechanism` (without -PLUS).

        A user who does not exist has them too: always the same, and not to be told from real ones.
        """


class ICredentialStore(Interface):
    """The stored secrets of one virtual host's accounts."""

    def secrets(local: str) -> Deferred[StoredRecord | None]:
        """Return the record of an account, None if there is no such account.

        The answer must reflect every change that has been confirmed to anybody.
        """


class IThrottle(Interface):
    """Slows down guessing, per address and per account from that address."""

    def refusal(address: str, account: str = "") -> float:
        """Return for how many seconds this address may not try; 0.0 if it may."""

    def failed(address: str, account: str = "") -> float:
        """Count a failure; return the seconds by which to delay its answer."""

    def succeeded(address: str, account: str = "") -> None:
        """Forget the failures of this account from this address."""
