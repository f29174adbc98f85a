"""A growing delay for those who guess passwords (RFC 6120 section 6.4.5 and 13.12).

Failures are tallied per address and per account from one address, never per account alone: nobody can lock
somebody else out. A tally halves every `halfLife` seconds. Over a first few free failures each answer is
delayed, twice as long each time; over a limit attempts are refused unheard until the tally has shrunk.
An IPv6 address counts as its /64 network, because a guesser has all of it.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable

from zope.interface import implementer

from xmppservice.hub.contracts.auth import IThrottle
from xmppservice.protocol.networks import networkOf


class Allowance:
    """How many failures are free, from how many on attempts are refused, and how answers are delayed (seconds)."""

    __slots__ = ("base", "ceiling", "free", "limit")

    def __init__(self, free: int, limit: int, base: float = 0.5, ceiling: float = 8.0) -> None:
        self.free = free
        self.limit = limit
        self.base = base
        self.ceiling = ceiling

    def delay(self, failures: float) -> float:
        """Return the delay of the answer to the last of so many failures."""
        excess = failures - self.free
        if excess <= 0:
            return 0.0
        # The exponent is bounded: a big one would overflow a float.
        return min(self.ceiling, self.base * math.exp2(min(math.ceil(excess) - 1, 32)))


#: For one account from one address.
ACCOUNT = Allowance(free=3, limit=15)
#: For an address as a whole; many honest people may share one.
ADDRESS = Allowance(free=10, limit=50)


class _Tallies:
    """A bounded table of decaying counts; the least recently failing is dropped first."""

    def __init__(self, allowance: Allowance, halfLife: float, size: int) -> None:
        self._allowance = allowance
        # Failures decay between each other, so as many as the limit add up to a little less.
        self._threshold = allowance.limit - 0.5
        self._halfLife = halfLife
        self._size = size
        self._counts: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def count(self, key: Hashable, now: float) -> float:
        count, stamp = self._counts.get(key, (0.0, now))
        return count * math.exp2(-max(0.0, now - stamp) / self._halfLife)

    def add(self, key: Hashable, now: float, failures: float) -> float:
        """Change a count and return the delay that it calls for."""
        count = self.count(key, now) + failures
        self._counts.pop(key, None)
        # Below half a failure there is nothing left to remember.
        if count >= 0.5:
            # The cap bounds the time of a refusal to one half-life.
            self._counts[key] = (min(count, 2.0 * self._threshold), now)
            if len(self._counts) > self._size:
                self._counts.popitem(last=False)
        return self._allowance.delay(count)

    def refusal(self, key: Hashable, now: float) -> float:
        count = self.count(key, now)
        return self._halfLife * math.log2(count / self._threshold) if count > self._threshold else 0.0

    def __len__(self) -> int:
        return len(self._counts)


@implementer(IThrottle)
class Throttle:
    """The tallies of one server; `clock` gives monotonic seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        account: Allowance = ACCOUNT,
        address: Allowance = ADDRESS,
        halfLife: float = 300.0,
        size: int = 16384,
    ) -> None:
        self._clock = clock
        self._accounts = _Tallies(account, halfLife, size)
        self._addresses = _Tallies(address, halfLife, size)

    def refusal(self, address: str, account: str = "") -> float:
        """See IThrottle.refusal."""
        now, network = self._clock(), networkOf(address)
        wait = self._addresses.refusal(network, now)
        return max(wait, self._accounts.refusal(_pair(network, account), now)) if account else wait

    def failed(self, address: str, account: str = "") -> float:
        """See IThrottle.failed."""
        now, network = self._clock(), networkOf(address)
        delay = self._addresses.add(network, now, 1.0)
        return max(delay, self._accounts.add(_pair(network, account), now, 1.0)) if account else delay

    def succeeded(self, address: str, account: str = "") -> None:
        """See IThrottle.succeeded. What others failed at from this address stays on its tally."""
        now, network = self._clock(), networkOf(address)
        pair = _pair(network, account)
        own = self._accounts.count(pair, now)
        if own:
            self._accounts.add(pair, now, -own)
            self._addresses.add(network, now, -own)


def _pair(network: str, account: str) -> Hashable:
    """Return a key of bounded size: the account's name is whatever a stranger sent."""
    return network, hashlib.blake2b(account.encode("utf-8", "surrogatepass"), digest_size=16).digest()
