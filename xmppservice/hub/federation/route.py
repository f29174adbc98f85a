"""`Route`: the way from one of our domains to a foreign one, and the stanzas that wait for it.

Theory of operation. While a link carries the pair, stanzas go straight to it (`domains.Federation.route`) and nothing
here is touched. Without one they wait, and the first of them starts an attempt: a stream that another pair has opened
to the same server is used again, else one is opened. If the attempt fails, what waits is kept for `queueTime` and
tried again; after that it comes back to its senders, and so does at once what comes next, until the pause is over.
Pauses grow, and no stanza is needed to forget them: the first after a pause begins anew.

A stream that is lost before the other server has taken anything may have been lost because of what was sent. After a
few of those in a row there are pauses as well, short ones if the line was cut, and the time of what waits runs on.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from xmppservice.hub.contracts.federation import Unreachable
from xmppservice.hub.passage import logIncident
from xmppservice.protocol.errors import StanzaError

if TYPE_CHECKING:
    from xmppservice.hub.federation.domains import Federation
    from xmppservice.hub.federation.link import ServerLink
    from xmppservice.hub.federation.managing import Suspension
    from xmppservice.hub.transit import Transit

Parcel = tuple[bytes, "Transit"]
"""The bytes of a stanza, and its passage. A message in one is parked until somebody has taken it or it came back."""

FIRST_PAUSE = 1.0

#: Streams in a row that may be lost without having been of any use, before we pause.
FREE_LOSSES = 2

#: The pause after a line that was cut: long enough not to be busy with nothing else.
CUT_PAUSE = 0.25


class Route:
    """One pair of domains, ours first. `reason` is why the last attempt failed, "" if it did not."""

    __slots__ = (
        "_attempt", "_federation", "_hopes", "_proving", "_size", "_starter", "_stopped", "_timer", "_useless",
        "_uselessSince", "_waiting", "condition", "failures", "link", "local", "pausedUntil", "reason", "remote",
        "resuming", "suspension",
    )  # fmt: skip

    def __init__(self, federation: Federation, local: str, remote: str) -> None:
        self._federation = federation
        self.local, self.remote = local, remote
        self.link: ServerLink | None = None
        self.failures = 0
        self.pausedUntil = 0.0
        self.reason = self.condition = ""
        #: What a link left behind that broke and may be resumed.
        self.suspension: Suspension | None = None
        self._waiting: deque[tuple[bytes, Transit, float]] = deque()
        self._size = 0
        #: Who has sent the first of what waits, as a bare JID.
        self._starter = ""
        #: Whether a former stream of this pair is being resumed.
        self.resuming = False
        self._attempt: Deferred[ServerLink] | None = None
        #: The stream of an attempt that now waits for the other server to accept us.
        self._proving: ServerLink | None = None
        #: Who waits for a stream to that server, whoever may send on it.
        self._hopes: list[Deferred[ServerLink]] = []
        self._timer: IDelayedCall | None = None
        #: Streams in a row by which the other server has taken nothing, and when we began to mind that; 0 if not.
        self._useless = 0
        self._uselessSince = 0.0
        self._stopped = False

    # -- what waits --------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many stanzas wait."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost if this were forgotten."""
        busy = self.link or self._waiting or self._attempt or self._timer or self._hopes or self.suspension
        return not busy and self.pausedUntil <= self._federation.clock.seconds()

    def admit(self, sender: str, size: int) -> None:
        """Raise `StanzaError` if a stanza of so many bytes cannot wait here; `sender` is a bare JID."""
        federation, policy = self._federation, self._federation.policy
        if self.pausedUntil > federation.clock.seconds():
            raise self._error()
        if self.link is None and not self._waiting and federation.starters[sender] >= policy.attemptsEach:
            raise StanzaError("resource-constraint", text="you wait for too many servers already")
        full = len(self._waiting) >= policy.queueStanzas or self._size + size > policy.queueBytes
        if full or federation.waitingBytes + size > policy.allBytes:
            raise StanzaError("resource-constraint", text=f"too much waits for {self.remote} already")

    def keep(self, data: bytes, transit: Transit) -> None:
        """Have a stanza wait that was admitted."""
        if not self._waiting and not self._starter:
            self._starter = transit.sender.bare
            self._federation.starters[self._starter] += 1
        self._count(len(data))
        self._waiting.append((data, transit, self._federation.clock.seconds()))
        self._start()

    def putBack(self, parcels: Iterable[Parcel]) -> None:
        """What a link could not bring to the end goes first."""
        since = self.since
        for data, transit in reversed(list(parcels)):
            self._count(len(data))
            self._waiting.appendleft((data, transit, since))

    @property
    def since(self) -> float:
        """From when on the time counts of what a link has left behind."""
        return self._uselessSince or self._federation.clock.seconds()

    def _count(self, size: int) -> None:
        self._size += size
        self._federation.waitingBytes += size

    def _takeFirst(self) -> Parcel:
        data, transit, _ = self._waiting.popleft()
        self._count(-len(data))
        return data, transit

    def flush(self) -> None:
        """Send what waits. The link may end of that, and then the rest stays."""
        self._unblame()
        link = self.link
        while link is not None and link is self.link and self._waiting:
            link.carry(*self._takeFirst())

    def _error(self) -> StanzaError:
        # Why is for the operator: it would tell users what else answers behind our walls (hardening S10).
        return StanzaError(self.condition or "remote-server-timeout", text=f"{self.remote} cannot be reached")

    def _unblame(self) -> None:
        """Nothing waits any more that somebody has begun."""
        starter, self._starter = self._starter, ""
        starters = self._federation.starters
        if starter:
            starters[starter] -= 1
            if not starters[starter]:
                del starters[starter]

    def bounce(self) -> None:
        """All that waits comes back to its senders."""
        self._unblame()
        error = self._error()
        for _ in range(len(self._waiting)):
            giveBack(self._takeFirst()[1], error)

    # -- attempts ----------------------------------------------------------------------------------

    def stream(self) -> Deferred[ServerLink]:
        """A stream to that server that we have opened, whoever may send on it; fails with `Unreachable`."""
        proving = self._proving
        if proving is not None and not proving.ended:
            # Before it accepts us, the other server may wait for this very question.
            return succeed(proving)
        hope: Deferred[ServerLink] = Deferred()
        self._hopes.append(hope)
        self._start()
        return hope

    def _start(self) -> None:
        if self._attempt is not None or self._timer is not None or self._stopped:
            return
        attempt = self._attempt = self._federation.obtain(self.local, self.remote)
        attempt.addCallback(self._reached).addErrback(self._failed)

    def _reached(self, link: ServerLink) -> Deferred[None] | None:
        """There is a stream; if stanzas wait, it has to carry the pair."""
        if not self._waiting and self.suspension is None:
            self._attempt = None
            self.pausedUntil = 0.0
            self._fulfil(link)
            return None
        proof = self._proveOn(link)
        if link.local != self.local:
            # Opened for another domain of ours: where that is not enough, ours may do on a stream of its own.
            proof.addErrback(self._alone)
        return proof

    def _fulfil(self, link: ServerLink) -> None:
        hopes, self._hopes = self._hopes, []
        for hope in hopes:
            hope.callback(link)

    def _disappoint(self, error: Unreachable) -> None:
        hopes, self._hopes = self._hopes, []
        for hope in hopes:
            hope.errback(error)

    def _proveOn(self, link: ServerLink) -> Deferred[None]:
        self._proving = link
        self._fulfil(link)
        return link.prove(self.local, self.remote).addCallback(lambda _: self._proved(link))

    def _alone(self, failure: Failure) -> Deferred[None]:
        failure.trap(Unreachable)
        return self._federation.open(self.local, self.remote).addCallback(self._proveOn)

    def _proved(self, link: ServerLink) -> None:
        self._attempt = self._proving = None
        link.begin(self)

    def use(self, link: ServerLink) -> None:
        """From now on this link carries the pair; what waits goes first."""
        if self.link is None:
            if link.ended:
                self.lost(link)
                return
            self.link = link
            self._cancel()
            self.failures, self.pausedUntil, self.reason, self.condition = 0, 0.0, "", ""
            # If it comes to this link in another way than by resumption, what was not counted is sent again.
            self._dropSuspension()
        self.flush()

    def lost(self, link: ServerLink) -> None:
        """A link that could carry the pair is gone: what waits needs another one."""
        if self.link is not None and self.link is not link:
            # Another stream carries the pair, and what has come back from this one.
            self.flush()
            return
        useless = self.link is link and not link.taken
        if self.link is link or self._waiting:
            self.reason = link.reason
        self.link = None
        if link.taken:
            self._forgive()
        if not self._waiting and self.suspension is None:
            self._federation.forgetIdle(self)
            return
        self._useless += useless
        if self._useless <= FREE_LOSSES or not useless:
            self._start()
        elif self._attempt is None and self._timer is None and not self._stopped:
            self._uselessSince = self.since
            self.failures = self._useless - FREE_LOSSES
            self._pause(False, self._longest() if link.dismissed else CUT_PAUSE)

    def _forgive(self) -> None:
        self._useless, self._uselessSince = 0, 0.0

    def revive(self, start: bool) -> None:
        """The other server is up, or the operator has mended something: there is no reason to pause. `start`: try at
        once."""
        self.pausedUntil = 0.0
        if not self._waiting:
            self.reason = ""
        if start and self._timer is not None and self._useless <= FREE_LOSSES:
            self._cancel()
            self._start()

    def _failed(self, failure: Failure) -> None:
        """The attempt came to nothing."""
        self._attempt = self._proving = None
        if self._stopped:
            return
        error = failure.value
        if isinstance(error, CancelledError):
            error = Unreachable("no answer within the time")
        elif not isinstance(error, Unreachable):
            error = Unreachable(f"incident {logIncident('an attempt to reach another server failed', failure)}")
        self.failures += 1
        self.reason, self.condition = error.reason, error.condition
        self._federation.failed(self, error)
        self._disappoint(error)
        if self.link is None:
            self._pause(error.lasting, self._longest())

    def _longest(self) -> float:
        """How long to pause at most, after so many failures."""
        return min(self._federation.policy.longestPause, FIRST_PAUSE * 2.0 ** min(self.failures - 1, 20))

    def _pause(self, lasting: bool, longest: float) -> None:
        """Try again soon if somebody can wait so long, else give up for a while."""
        federation, policy = self._federation, self._federation.policy
        now = federation.clock.seconds()
        # Not all at the same time, when many became unreachable together.
        pause = longest * (0.75 + secrets.randbelow(250) / 1000)
        left = self._waitsSince(now) + policy.queueTime - now
        if left > 0 and not lasting:
            self._timer = federation.clock.callLater(min(pause, left), self._again)
            return
        self.pausedUntil = now + pause
        self._forgive()
        self._dropSuspension()
        self.bounce()

    def _waitsSince(self, now: float) -> float:
        """Since when something waits; long ago if nothing does."""
        since = [now - self._federation.policy.queueTime]
        if self._waiting:
            since.append(self._waiting[0][2])
        if self.suspension is not None:
            since.append(self.suspension.since)
        return max(since)

    def _again(self) -> None:
        self._timer = None
        self._start()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _dropSuspension(self) -> None:
        suspension, self.suspension = self.suspension, None
        if suspension is not None:
            self.putBack(suspension.parcels())

    def stop(self, error: Unreachable) -> None:
        """The server stops, or this pair may not speak to each other any more: nothing more is tried."""
        self._stopped = True
        self._cancel()
        self.reason, self.condition = error.reason, error.condition
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()
        self._disappoint(error)
        self._dropSuspension()
        self.bounce()


def giveBack(transit: Transit, error: StanzaError) -> None:
    """A stanza could not be brought to the other server: its sender is told."""
    transit.host.bounce(transit, error)
    if transit.kind == "message":
        transit.finish()
