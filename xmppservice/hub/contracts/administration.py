"""What administration commands may ask of a server, running or stopped.

All Deferreds errback `xmppservice.hub.commands.CommandError` for what the operator can mend: no such account, a
database that another process holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Interface

from xmppservice.protocol.jid import JID

Progress = Callable[[str], None]
"""Takes one line of text for the person who waits."""


class AccountLine(NamedTuple):
    """An account in a list; ``created`` is seconds since the epoch, 0 if unknown."""

    jid: str
    role: str
    enabled: bool
    created: float


class SessionLine(NamedTuple):
    """A bound session in a list; ``since`` is seconds since the epoch.

    ``state`` is ``online``, ``connected`` (no presence yet) or ``away`` (no connection, can be resumed).
    """

    jid: str
    address: str
    secure: bool
    since: float
    state: str


class SchemaLine(NamedTuple):
    """The state of one part of the database: the core or a module; ``version`` 0 is not made yet."""

    part: str
    version: int
    wanted: int


class Refusal(NamedTuple):
    """A row of an import that was not taken."""

    jid: str
    reason: str


class IAdministration(Interface):
    """Accounts, sessions, state and database of one server.

    Implementations say which of this works with the server stopped by the commands' ``offline`` flag: the account
    and database methods do, the others errback `CommandError`.
    """

    def createAccount(jid: JID, password: str, role: str) -> Deferred[None]:
        """Make an account; fires once it is committed."""

    def importAccounts(accounts: Sequence[tuple[JID, str]], progress: Progress) -> Deferred[list[Refusal]]:
        """Make many accounts from addresses and passwords; fires with those not taken, such as existing ones."""

    def setPassword(jid: JID, password: str, keep: JID | None = None) -> Deferred[None]:
        """Replace the password and close the account's streams within 5 s.

        The session with the address `keep` stays: it is the one that asked (XEP-0077).
        """

    def accounts(host: str | None) -> Deferred[list[AccountLine]]:
        """All accounts, of one host or of all, sorted by host and name."""

    def setEnabled(jid: JID, enabled: bool) -> Deferred[None]:
        """Allow or forbid logins; forbidding closes the account's streams within 5 s."""

    def deleteAccount(jid: JID) -> Deferred[None]:
        """Remove the account with all it owns and close its streams within 5 s."""

    def setRole(jid: JID, role: str) -> Deferred[None]:
        """Give the account another role."""

    def sessions(host: str | None) -> Deferred[list[SessionLine]]:
        """All bound sessions, of one host or of all, sorted by address."""

    def kick(jid: JID) -> Deferred[int]:
        """Close one session (full address) or all of an account; fires with how many there were."""

    def status() -> Deferred[list[tuple[str, str]]]:
        """Figures of the running server: name and value, in the order to show."""

    def reload() -> Deferred[list[str]]:
        """Read configuration and certificates again; fires with lines on what changed and what needs a restart.

        A configuration with an error is refused as a whole and the old one kept.
        """

    def databaseStatus() -> Deferred[list[SchemaLine]]:
        """Versions of the database's parts."""

    def databaseUpgrade(progress: Progress) -> Deferred[list[str]]:
        """Bring all parts to the wanted version; fires with lines on what was done."""


class IOpenedAdministration(IAdministration):
    """An administration opened by a tool while the server is stopped."""

    def close() -> Deferred[None]:
        """Finish all writes and give the database back."""
