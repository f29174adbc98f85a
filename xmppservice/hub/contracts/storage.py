"""What the hub and the modules may ask of the storage.

A *ticket* is a rising int that stands for one write.  It is *settled* once the
write is on stable storage, or has failed and its ``failed`` callback was told.
Tickets settle in order, so "settled" is one comparison: ``ticket <= store.committed``.
Ticket 0 means that there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

#: What a row or an argument may hold.
Value = int | float | str | bytes | None
#: One row of a bulk operation, or the arguments of a single one.
Row = tuple[Value, ...]
#: One row of a result, as the named read documents it.
ResultRow = tuple[Any, ...]
#: Told why a write failed, always before its ticket counts as settled.
Failed = Callable[[Exception], None]


class StorageFailure(Exception):
    """A write or read that the storage could not do; the data is as it was before."""


class ConstraintFailure(StorageFailure):
    """The operation itself is at fault: a row that exists already, a missing value, a bug."""


class StorageFull(StorageFailure):
    """There is no space left; the same operation works again when there is."""


class StorageUnavailable(StorageFailure):
    """The storage cannot be reached or reports I/O errors; trying later may help."""


class StorageRefused(StorageFailure):
    """The database must not be opened as it is: locked by another server, too new or damaged."""


class UnknownOperation(StorageFailure):
    """No declaration holds an operation of that name and kind."""


class AccountExists(ConstraintFailure):
    """The account that should be created is there already."""


class AccountRecord(NamedTuple):
    """All facts of one account, from one small read."""

    id: int
    local: str
    enabled: bool
    role: str
    #: bare JID or domain → bit flags of :mod:`xmppservice.protocol.subscription`
    roster: dict[str, int]
    rosterVersion: int
    #: JIDs of the blocking list, as stored
    blocks: frozenset[str]
    #: number of stored offline stanzas
    offline: int
    #: the oldest roster version from which differences are still known
    rosterFloor: int = 0


class AccountSummary(NamedTuple):
    """One line of a list of accounts; ``created`` is seconds since the epoch."""

    id: int
    local: str
    enabled: bool
    role: str
    created: float


class AccountSecrets(NamedTuple):
    """What a login needs of an account; ``secrets`` is opaque to the storage."""

    id: int
    secrets: bytes
    enabled: bool


class RosterRow(NamedTuple):
    """One contact; ``removed`` rows are tombstones, seen only in differences."""

    jid: str
    name: str
    state: int
    groups: tuple[str, ...]
    version: int
    removed: bool


class OfflineRow(NamedTuple):
    """One stored stanza: its id, when it came (seconds since the epoch), its bytes."""

    id: int
    stamp: float
    data: bytes


class IStore(Interface):
    """Named writes with tickets, and named reads.

    With a database file the writes of a few milliseconds are committed
    together.  An in-memory store commits inside :meth:`append` itself, so there
    ``failed`` and the callbacks of :meth:`onCommit` run before the ticket is
    returned: always compare a ticket with :attr:`committed` first.
    """

    committed: int = Attribute("Every ticket up to this one is settled.")
    backlog: int = Attribute("How many rows wait for their commit.")
    crowded: bool = Attribute("Whether so much waits for its commit that senders must wait too: back-pressure.")

    def append(op: str, row: Row, failed: Failed | None = None) -> int:
        """Give one row to the bulk operation `op`; return its ticket.

        Cheap enough for every chat message.  Without `failed`, a failure is logged.

        :raises UnknownOperation: at once, if there is no such bulk operation.
        """

    def apply(op: str, args: Row = (), failed: Failed | None = None) -> int:
        """Run the operation `op` alone, in order with all others; return its ticket."""

    def execute(op: str, args: Row = ()) -> Deferred[None]:
        """Like :meth:`apply`; fires once committed and errbacks a `StorageFailure`."""

    def retract(ticket: int) -> bool:
        """Take an appended row back; True if it will now never be written.

        The ticket settles as usual.  False means that its batch was closed already.
        """

    def whenCommitted(ticket: int) -> Deferred[None]:
        """Fire once `ticket` is settled (at once if it is); never errbacks for a failed
        write, but errbacks `StorageUnavailable` if the store stops first."""

    def onCommit(callback: Callable[[int], None]) -> Callable[[], None]:
        """Call `callback(committed)` after each commit, until the returned callable is called."""

    def read(op: str, args: Row = (), after: int = 0) -> Deferred[list[ResultRow]]:
        """Run the named read once the ticket `after` is settled; errbacks `StorageFailure`."""


class ISpool(Interface):
    """Stanzas that were taken over for an online recipient who has not acknowledged them yet.

    What is left here when the server starts becomes offline rows.
    """

    def hold(
        accountId: int, stamp: float, data: bytes, failed: Failed | None = None
    ) -> tuple[int, int]:
        """Keep the stanza bytes (client context) for the account; return (key, ticket)."""

    def settle(key: int) -> None:
        """The stanza arrived or was bounced: never write its row, or delete it lazily."""

    def moveOffline(keys: Sequence[int], failed: Failed | None = None) -> int:
        """Turn held stanzas into offline rows, in the order given, in one step; return the ticket.

        Neither a crash before nor one after loses or doubles them.
        """


class IOfflineStore(Interface):
    """Stanzas waiting for an account without an available resource."""

    def store(accountId: int, stamp: float, data: bytes, failed: Failed | None = None) -> int:
        """Keep the stanza bytes (client context); return the ticket."""

    def load(
        accountId: int, after: int = 0, limit: int = 200, start: int = 0
    ) -> Deferred[list[OfflineRow]]:
        """The oldest `limit` rows with an id above `start`, in order of arrival, once the ticket
        `after` is settled."""

    def remove(accountId: int, ids: Sequence[int]) -> int:
        """Delete rows that have been acknowledged; return the ticket."""

    def clear(accountId: int) -> int:
        """Delete all rows of the account; return the ticket."""


class IAccounts(Interface):
    """Hosts and accounts.  Ids are integers and never used again after a deletion.

    Every Deferred of a change fires when the change is committed and errbacks a
    `StorageFailure` otherwise.
    """

    def hostId(domain: str) -> Deferred[int]:
        """The id of a virtual host, given to it when first asked for."""

    def record(hostId: int, local: str, after: int = 0) -> Deferred[AccountRecord | None]:
        """All facts of an account once the ticket `after` is settled; None if there is none."""

    def secrets(hostId: int, local: str, after: int = 0) -> Deferred[AccountSecrets | None]:
        """What a login needs; None if there is no such account."""

    def create(hostId: int, local: str, secrets: bytes, role: str = "user") -> Deferred[int]:
        """Make an account; fires with its id, errbacks `AccountExists`."""

    def createMany(hostId: int, accounts: Sequence[tuple[str, bytes]]) -> Deferred[int]:
        """Make many accounts from (local, secrets); those that exist are left as they are.
        Fires with the number of new ones."""

    def setSecrets(accountId: int, secrets: bytes) -> Deferred[None]:
        """Replace the secrets."""

    def setEnabled(accountId: int, enabled: bool) -> Deferred[None]:
        """Allow or forbid logins."""

    def setRole(accountId: int, role: str) -> Deferred[None]:
        """Give the account another role."""

    def delete(accountId: int) -> Deferred[None]:
        """Remove the account and everything that it owns, in modules' tables too."""

    def list(
        hostId: int, start: str = "", limit: int = 1000
    ) -> Deferred[Sequence[AccountSummary]]:
        """Up to `limit` accounts with a name above `start`, sorted by name."""


class IRosters(Interface):
    """Contact lists (RFC 6121 section 2) with versions; all writes return tickets.

    The version of a write also becomes the account's, unless that is newer.
    """

    def items(
        accountId: int, since: int | None = None, after: int = 0
    ) -> Deferred[list[RosterRow]]:
        """The whole roster, or all rows changed after version `since`, tombstones included.

        A `since` below the record's ``rosterFloor`` has no complete difference: ask for
        the whole roster then.  Rows that are only a pending inbound request are in it too.
        """

    def put(
        accountId: int, jid: str, name: str, state: int, groups: tuple[str, ...], version: int,
        failed: Failed | None = None,
    ) -> int:
        """Create or replace a contact; a kept request stanza stays while pending."""

    def setState(
        accountId: int, jid: str, state: int, version: int, request: bytes | None = None,
        failed: Failed | None = None,
    ) -> int:
        """Set the subscription state and keep name and groups; create the row if needed.

        `request` replaces the kept inbound request; a state without PENDING_IN drops it.
        """

    def remove(accountId: int, jid: str, version: int, failed: Failed | None = None) -> int:
        """Leave a tombstone, so that the removal is seen in differences."""

    def requests(accountId: int, after: int = 0) -> Deferred[list[tuple[str, bytes]]]:
        """The kept inbound subscription requests: (bare JID, stanza bytes)."""


class IBlocks(Interface):
    """Blocking lists (XEP-0191); read with the account's record.  All return tickets."""

    def set(accountId: int, jids: Sequence[str], failed: Failed | None = None) -> int:
        """Replace the whole list."""

    def add(accountId: int, jids: Sequence[str], failed: Failed | None = None) -> int:
        """Add JIDs; those that are there stay."""

    def remove(accountId: int, jids: Sequence[str], failed: Failed | None = None) -> int:
        """Take JIDs off."""


class IKeys(Interface):
    """The server's own stored secrets, by name."""

    def get(name: str) -> Deferred[bytes | None]:
        """The secret of that name, if there is one."""

    def obtain(name: str, make: Callable[[], bytes]) -> Deferred[bytes]:
        """The secret of that name, made and committed on first use; all callers get the same."""

    def put(name: str, value: bytes) -> Deferred[None]:
        """Set or replace a secret."""
