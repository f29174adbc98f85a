"""D11: whatever strangers name, each table that remembers it has a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import succeed

from xmppservice.auth.recent import RecentRecords
from xmppservice.auth.throttle import Throttle
from xmppservice.edge.rates import ADDRESS, REMEMBERED, STREAM, Meters
from xmppservice.hub import table
from xmppservice.hub.accounts import AccountCache
from xmppservice.hub.hooks import Phase
from xmppservice.hub.host import FORMER_LIMIT
from xmppservice.hub.table import Chain
from xmppservice.modules.register import TRACKED, Quota
from xmppservice.protocol import jid
from xmppservice.testing import MemoryServer
from xmppservice.wire import ns, serializer
from xmppservice.wire.element import Element

KEYS = 100_000

Fill = Callable[[int], object]
Size = Callable[[], int]
Case = tuple[Fill, Size, int]


def _network(number: int) -> str:
    return f"2001:db8:{number >> 16:x}:{number & 65535:x}::1"


def _addresses() -> Case:
    return lambda n: jid.JID.parse(f"u{n}@d{n}.test/r"), lambda: len(jid._recent) + len(jid._older), 16384


def _budgets() -> Case:
    meters = Meters(STREAM, ADDRESS, lambda: 0.0)
    return lambda n: meters.meter(_network(n)), lambda: len(meters), REMEMBERED


def _failures() -> Case:
    throttle = Throttle(lambda: 0.0)
    return (
        lambda n: throttle.failed(_network(n), f"user{n}"),
        lambda: max(len(throttle._accounts), len(throttle._addresses)),
        16384,
    )


def _records() -> Case:
    class Nobody:
        def secrets(self, local: str) -> Any:
            return succeed(None)

    recent = RecentRecords(cast("Any", Nobody()), lambda: 0.0)
    return lambda n: recent.secrets(f"user{n}"), lambda: len(recent._records), 2048


def _accounts() -> Case:
    cache = AccountCache(lambda local: succeed(None), cast("Any", None), limit=2 << 20)
    return lambda n: cache.obtain(f"user{n}"), lambda: len(cache.known) + len(cache._loading), (2 << 20) // 200 + 1


def _names() -> Case:
    return (
        lambda n: serializer.serialize(Element(ns.CLIENT, f"name{n}", {f"attribute{n}": "x"})),
        lambda: max(len(serializer._names), len(serializer._leads)),
        serializer._CACHE_ENTRIES,
    )


def _combinations() -> Case:
    class Mark:
        def __init__(self, number: int) -> None:
            self.namespace, self.phase = f"urn:{number}", Phase.AMEND

    chain = Chain([(cast("Any", Mark(number)), print) for number in range(12)])

    def meet(n: int) -> None:
        # Every subset of twelve is enough, and each costs a dozen elements.
        if n < 1 << 12:
            children = [Element(f"urn:{bit}", "x") for bit in range(12) if n >> bit & 1]
            chain.steps(Element(ns.CLIENT, "message", None, *children))

    return meet, lambda: len(chain._met), table.MET_LIMIT


def _formerSessions() -> Case:
    host = MemoryServer().host

    class Gone:
        class account:
            jid = jid.JID.parse("a@localhost")

        class ledger:
            @staticmethod
            def settled() -> int:
                return 0

    return lambda n: host.forget(f"token{n}", cast("Any", Gone)), lambda: len(host._former), FORMER_LIMIT


def _registrations() -> Case:
    quota = Quota(5, 3600.0)
    return lambda n: quota.take(_network(n), 0.0), lambda: len(quota._tries), TRACKED


CASES: dict[str, Callable[[], Case]] = {
    "addresses": _addresses,
    "budgets": _budgets,
    "failed logins": _failures,
    "credentials": _records,
    "accounts": _accounts,
    "names": _names,
    "combinations of payloads": _combinations,
    "former sessions": _formerSessions,
    "registrations": _registrations,
}


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """What is common to the process is emptied again."""
    yield
    for cache in (jid._recent, jid._older, serializer._names, serializer._leads):
        cast("dict[str, Any]", cache).clear()


@pytest.mark.parametrize("name", CASES)
def test_tableIsBounded(name: str) -> None:
    """A hundred thousand different keys: the table is never larger than its bound, and it was used at all."""
    fill, size, bound = CASES[name]()
    highest = 0
    for number in range(KEYS):
        fill(number)
        if not number % 97:
            highest = max(highest, size())
    assert bound // 2 < max(highest, size()) <= bound
