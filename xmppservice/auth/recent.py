"""Remembers records between the two moments at which a SCRAM login needs them: for the salt and for the proof."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from xmppservice.hub.contracts.auth import ICredentialStore, StoredRecord


@implementer(ICredentialStore)
class RecentRecords:
    """A store in front of a slower one. Who changes an account must call `forget` before confirming the change.

    `clock` gives monotonic seconds. That an account does not exist is remembered too, or time would tell.
    """

    def __init__(
        self, store: ICredentialStore, clock: Callable[[], float], seconds: float = 30.0, size: int = 2048
    ) -> None:
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._size = size
        self._changes = 0
        self._records: OrderedDict[str, tuple[float, StoredRecord | None]] = OrderedDict()

    def secrets(self, local: str) -> Deferred[StoredRecord | None]:
        """See ICredentialStore.secrets."""
        found = self._records.get(local)
        if found is not None and found[0] > self._clock():
            return succeed(found[1])
        return self._store.secrets(local).addCallback(self._remember, local, self._changes)

    def forget(self, local: str) -> None:
        """An account is made, changed or deleted: read it anew, and keep nothing that is being read now."""
        self._changes += 1
        self._records.pop(local, None)

    def _remember(self, record: StoredRecord | None, local: str, changes: int) -> StoredRecord | None:
        if changes == self._changes:
            self._records.pop(local, None)
            self._records[local] = (self._clock() + self._seconds, record)
            while len(self._records) > self._size:
                self._records.popitem(last=False)
        return record
