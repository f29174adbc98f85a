"""How much a peer may send: token buckets per stream and per address (hardening D08, D09; XEP-0205).

Theory of operation. A stream counts bytes, stanzas and deliveries (what one of its stanzas causes to go to many) in
plain integers, and one more integer tells it when a `GRAIN` of them has come together. Only then is the clock asked,
and the grain is taken from two budgets: the stream's own and that of its address, which all streams of the address
share. A budget may go into debt, so one read may be larger than all that it holds; whoever is in debt is not read
until the debt is paid. Debts are bounded, and with them the time that a stream rests.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterable

import attrs

from xmppservice.protocol.networks import networkOf

GRAIN = 16 * 1024
"""What a stream may use between two looks at its budgets: bytes, and what `STANZA` and `DELIVERY` add."""

STANZA = 256
DELIVERY = 64

FREE = 1 << 29
"""The grain of a stream that nothing limits: small enough to stay a small integer."""

REMEMBERED = 16384
"""Addresses whose budgets are kept at the same time; the one used longest ago is dropped first."""


@attrs.frozen
class Rates:
    """What may be used per second, and at once after a silence."""

    bytes: int
    bytesBurst: int
    stanzas: int
    stanzasBurst: int
    deliveries: int
    deliveriesBurst: int


STREAM = Rates(50_000, 1 << 20, 100, 2000, 1000, 20_000)
ADDRESS = Rates(500_000, 8 << 20, 1000, 20_000, 10_000, 200_000)


class Budget:
    """Three token buckets, filled when somebody looks."""

    __slots__ = ("_stamp", "bytes", "deliveries", "rates", "stanzas")

    def __init__(self, rates: Rates, now: float) -> None:
        self.rates = rates
        self.bytes = float(rates.bytesBurst)
        self.stanzas = float(rates.stanzasBurst)
        self.deliveries = float(rates.deliveriesBurst)
        self._stamp = now

    def take(self, now: float, bytes: int, stanzas: int, deliveries: int) -> float:
        """Take what was used; returns the seconds until no bucket is in debt any more."""
        rates = self.rates
        passed, self._stamp = now - self._stamp, now
        self.bytes = level = _level(self.bytes, passed * rates.bytes, rates.bytesBurst, bytes)
        wait = -level / rates.bytes
        self.stanzas = level = _level(self.stanzas, passed * rates.stanzas, rates.stanzasBurst, stanzas)
        wait = max(wait, -level / rates.stanzas)
        self.deliveries = level = _level(self.deliveries, passed * rates.deliveries, rates.deliveriesBurst, deliveries)
        return max(0.0, wait, -level / rates.deliveries)


def _level(before: float, gained: float, burst: int, used: int) -> float:
    """A bucket never holds more than its burst, and never owes more."""
    return max(min(before + gained, burst) - used, -burst)


class Meter:
    """The two budgets of one stream."""

    __slots__ = ("_address", "_clock", "_own")

    def __init__(self, own: Budget, address: Budget, clock: Callable[[], float]) -> None:
        self._own = own
        self._address = address
        self._clock = clock

    def take(self, bytes: int = 0, stanzas: int = 0, deliveries: int = 0) -> float:
        """Take what the stream has used; returns for how many seconds it has to rest."""
        now = self._clock()
        wait = self._own.take(now, bytes, stanzas, deliveries)
        return max(wait, self._address.take(now, bytes, stanzas, deliveries))


class Exemptions:
    """Networks whose peers are not limited. Raises ValueError for a text that is no address and no network."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(text.strip(), strict=False) for text in texts]

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)


class Meters:
    """Makes the meters of streams, and keeps the budgets of addresses while they matter.

    An address is what `networkOf` says: an IPv6 address counts as its /64 network (D09). Its budget outlives its
    streams, or whoever has used it up would only have to connect again.
    """

    def __init__(self, stream: Rates, address: Rates, clock: Callable[[], float], size: int = REMEMBERED) -> None:
        self.stream = stream
        self.address = address
        self._clock = clock
        self._size = size
        self._known: OrderedDict[str, Budget] = OrderedDict()

    def meter(self, address: str) -> Meter:
        """A meter for a new stream from this address."""
        now, network, known = self._clock(), networkOf(address), self._known
        budget = known.get(network)
        if budget is None:
            budget = known[network] = Budget(self.address, now)
            if len(known) > self._size:
                known.popitem(last=False)
        else:
            known.move_to_end(network)
        return Meter(Budget(self.stream, now), budget, self._clock)

    def __len__(self) -> int:
        return len(self._known)
