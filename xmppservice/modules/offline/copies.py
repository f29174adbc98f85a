"""Offline messages on their way to a session.

Theory of operation. A page of rows is sent to one session; each row is *claimed* until the peer has
acknowledged it (without XEP-0198: until the kernel has it), and deleted only then. A claimed row is
sent to nobody else. When all rows of a page are taken the next page follows, so a long queue never
floods a slow client. Until all rows are sent, messages that come for this session alone become rows
too, behind the others, so that each pair keeps its order. When the session dies the claims end, and
the rows wait for the next session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from xmppservice.hub.delivery import Choice, choose
from xmppservice.hub.unsettled import stamped

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from xmppservice.hub.account import Account
    from xmppservice.hub.contracts.storage import OfflineRow
    from xmppservice.hub.host import VirtualHost
    from xmppservice.hub.session import Session

log = Logger()

#: Rows and bytes that are sent before the peer must have taken them, at most.
PAGE_ROWS = 100
PAGE_BYTES = 256 << 10

class OfflineCopy:
    """One row that was sent to a session; the session says what became of it."""

    __slots__ = ("_delivery", "_row")

    def __init__(self, delivery: Delivery, row: int) -> None:
        self._delivery = delivery
        self._row = row

    def taken(self, account: Account) -> None:
        """The peer has it: the row goes."""
        self._delivery.taken(account, self._row)

    def lost(self, account: Account) -> None:
        """The session died without taking it: the row is still there."""
        self._delivery.lost(self._row)


class Delivery:
    """The offline messages of one account on their way to one session."""

    def __init__(self, deliveries: Deliveries, account: Account, session: Session) -> None:
        self._deliveries = deliveries
        self._host = account.host
        self._account = account
        self._session = session
        self._claimed: set[int] = set()
        self._last = 0
        self._limit = 0
        self._busy = False
        #: Rows were added since the last read.
        self._more = False
        #: Nothing more can be had: the end of the rows, or an error.
        self.exhausted = False

    def next(self) -> None:
        """Read the next page and send it."""
        self._busy, self._more = True, False
        account = self._account
        self._limit = self._bounds()[0]
        rows = self._host.services.offline.load(account.id, account.ticket, self._limit, self._last)
        rows.addCallback(self._send).addErrback(self._failed)

    def _bounds(self) -> tuple[int, int]:
        """Rows and bytes of a page: well within what the session may leave unacknowledged.

        The last stanza of a page may exceed the bytes, and weighs half of the queue at most.
        """
        queue = self._session.queue
        if queue is None:
            return PAGE_ROWS, PAGE_BYTES
        return max(1, min(PAGE_ROWS, queue.maxCount // 2)), min(PAGE_BYTES, queue.maxBytes // 4)

    def _send(self, rows: list[OfflineRow]) -> None:
        self.exhausted = not rows and not self._more
        size, most = 0, self._bounds()[1]
        for row in rows:
            if size > most or not self._isWanted():
                break
            self._last = row.id
            try:
                data = stamped(self._host, row.data, row.stamp)
            except Exception:
                log.failure("an offline message of {jid} cannot be read and is dropped", jid=self._account.jid.bare)
                self._deliveries.remove(self._account, row.id)
                continue
            size += len(data)
            self._claimed.add(row.id)
            self._session.deliver(data, OfflineCopy(self, row.id))
        if len(rows) < self._limit and not self._more and (not rows or self._last == rows[-1].id):
            # All are sent: what comes now follows them on the stream.
            self._account.catchingUp = None
        self._busy = False
        self._proceed()

    def queued(self) -> None:
        """There is another row."""
        self._more, self.exhausted = True, False

    def _failed(self, failure: Failure) -> None:
        log.failure("offline messages of {jid} cannot be delivered", failure, jid=self._account.jid.bare)
        self._busy, self.exhausted = False, True
        self._proceed()

    def taken(self, account: Account, row: int) -> None:
        """The peer has this row."""
        self._claimed.discard(row)
        self._deliveries.remove(account, row)
        self._proceed()

    def lost(self, row: int) -> None:
        """The peer never got this row; should its session live on, it is read again."""
        self._claimed.discard(row)
        self._last = min(self._last, row - 1)
        self._proceed()

    def _isWanted(self) -> bool:
        session = self._session
        return not session.ended and session.available and session.priority >= 0

    def _proceed(self) -> None:
        """When all of a page are accounted for: the next one, or the end."""
        if self._claimed or self._busy:
            return
        if self.exhausted or not self._isWanted():
            self._deliveries.ended(self._account, self)
        else:
            self.next()


class Deliveries:
    """The deliveries under way on one host, one per account at most."""

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        self._byAccount: dict[int, Delivery] = {}

    def begin(self, session: Session) -> None:
        """Send what waits for the account to this session, unless another is getting it."""
        account = session.account
        if account.id not in self._byAccount:
            delivery = self._byAccount[account.id] = Delivery(self, account, session)
            account.catchingUp = session
            delivery.next()

    def queued(self, account: Account) -> None:
        """A message was stored while others are on their way."""
        delivery = self._byAccount.get(account.id)
        if delivery is not None:
            delivery.queued()

    def remove(self, account: Account, row: int) -> None:
        """Delete a row that was taken; many deletions become one statement."""
        account.offline = max(0, account.offline - 1)
        account.wrote(self._host.services.offline.remove(account.id, (row,)))

    def ended(self, account: Account, delivery: Delivery) -> None:
        """A delivery is over; what it left goes to another session that would have it."""
        if self._byAccount.get(account.id) is not delivery:
            return
        del self._byAccount[account.id]
        account.catchingUp = None
        if account.offline and not delivery.exhausted:
            for session in choose(tuple(account.sessions.values()), Choice.BEST)[:1]:
                self.begin(session)
