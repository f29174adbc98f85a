"""The accounts of one virtual host that are in memory: all that are online, and recent others.

Accounts without a session stay in a cache that is bounded in bytes; an address that has no
account is remembered there too, so that strangers cannot make us ask the storage again and
again. Stanzas for an account that is being read wait here, in order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from xmppservice.hub.account import Account

if TYPE_CHECKING:
    from xmppservice.hub.contracts.storage import AccountRecord

#: What an account or an unknown address costs in the cache beside its roster, in bytes.
_BASE = 1000
_UNKNOWN = 200
_CONTACT = 130


class AccountCache:
    """Local part → `Account`, or None for an address known to have no account.

    `load` reads an account's record from the storage; `make` turns it into an `Account`.
    """

    def __init__(
        self,
        load: Callable[[str], Deferred[AccountRecord | None]],
        make: Callable[[AccountRecord], Account],
        limit: int = 64 << 20,
    ) -> None:
        self._load = load
        self._make = make
        self._limit = limit
        self._size = 0
        #: Look-ups on the hot path go straight to this; a missing key means "ask `obtain`".
        self.known: dict[str, Account | None] = {}
        self._idle: OrderedDict[str, int] = OrderedDict()
        self._loading: dict[str, list[Deferred[Account | None]]] = {}
        self._whenIdle: list[Deferred[None]] = []
        #: Accounts that changed while they were being read: what comes of that read is old.
        self._outdated: set[str] = set()

    def obtain(self, local: str) -> Deferred[Account | None]:
        """The account, read if necessary; fires in the order of the calls."""
        if local in self.known:
            if local in self._idle:
                self._idle.move_to_end(local)
            return succeed(self.known[local])
        result: Deferred[Account | None] = Deferred()
        waiting = self._loading.get(local)
        if waiting is not None:
            waiting.append(result)
            return result
        self._loading[local] = [result]
        self._load(local).addBoth(self._loaded, local)
        return result

    def _loaded(self, record: AccountRecord | None | Failure, local: str) -> None:
        if local in self._outdated:
            self._outdated.discard(local)
            self._load(local).addBoth(self._loaded, local)
            return
        waiting = self._loading.pop(local)
        if isinstance(record, Failure):
            for result in waiting:
                result.errback(record)
        else:
            account = None if record is None else self._make(record)
            self.known[local] = account
            self._rest(local, account)
            for result in waiting:
                result.callback(account)
        if not self._loading:
            idle, self._whenIdle = self._whenIdle, []
            for due in idle:
                due.callback(None)

    def whenIdle(self) -> Deferred[None]:
        """Fire when no account is being read, so that no stanza waits here."""
        if not self._loading:
            return succeed(None)
        due: Deferred[None] = Deferred()
        self._whenIdle.append(due)
        return due

    def touched(self, account: Account) -> None:
        """An account gained or lost a session."""
        local = account.jid.local
        if self.known.get(local) is not account:
            return
        if account.sessions:
            self._size -= self._idle.pop(local, 0)
        elif not account.id:
            # A guest has no record to be read again: with the last session the address is nobody's.
            del self.known[local]
        elif local not in self._idle:
            self._rest(local, account)

    def _rest(self, local: str, account: Account | None) -> None:
        """Put an entry without sessions into the cache; let the oldest go if that is too much."""
        size = _UNKNOWN if account is None else _BASE + _CONTACT * len(account.roster)
        self._idle[local] = size
        self._size += size
        while self._size > self._limit and len(self._idle) > 1:
            oldest, freed = self._idle.popitem(last=False)
            self._size -= freed
            del self.known[oldest]

    def forget(self, local: str) -> None:
        """The next look-up reads the storage: the account was made, changed or deleted."""
        self.known.pop(local, None)
        self._size -= self._idle.pop(local, 0)
        if local in self._loading:
            self._outdated.add(local)

    def online(self) -> list[Account]:
        """All accounts that have sessions."""
        return [account for account in self.known.values() if account is not None and account.sessions]
