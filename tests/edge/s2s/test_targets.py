"""Which targets a domain has, and in what order (RFC 6120 3.2, RFC 2782, XEP-0368, S07)."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.edge.s2s.names import TableNames, records
from xmppservice.edge.s2s.questions import AAAA, SRV, A, Answer
from xmppservice.edge.s2s.targets import Finder, NoAnswer, NoService, Target, describeTargets

DIRECT, STARTTLS = "_xmpps-server._tcp.", "_xmpp-server._tcp."
NONE: Answer = Answer(())


def result(deferred: Deferred[Any]) -> Any:
    """What it has, or the exception."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "no result yet"
    return found[0].value if isinstance(found[0], Failure) else found[0]


def find(table: dict[tuple[str, int], Any], domain: str = "a.test", **options: Any) -> Any:
    """The targets by a table of names."""
    return result(Finder(TableNames(table), **options).targets(domain))


def srv(*values: tuple[int, int, int, str], domain: str = "a.test", direct: bool = False) -> dict[Any, Any]:
    """SRV records of a domain."""
    return {((DIRECT if direct else STARTTLS) + domain, SRV): values}


def test_mixed() -> None:
    """Both services are one set: priority decides, not the service (XEP-0368 3)."""
    table = srv((10, 0, 5269, "late.test"), (5, 0, 5269, "middle.test")) | srv((7, 0, 443, "direct.test"), direct=True)
    assert find(table) == [
        Target("middle.test", 5269),
        Target("direct.test", 443, direct=True),
        Target("late.test", 5269),
    ]


def test_weights() -> None:
    """Every random number there is, once each: the first place goes by weight, over both services together."""
    table = srv((1, 1, 1, "w1.test"), (1, 2, 1, "w2.test"))
    table |= srv((1, 3, 1, "w3.test"), (1, 0, 1, "w0.test"), direct=True)
    counts: Counter[str] = Counter()
    for number in range(7):
        found = find(table, random=lambda limit, number=number: min(number, limit - 1))
        assert len(found) == 4
        counts[found[0].host] += 1
    assert counts == {"w0.test": 1, "w1.test": 1, "w2.test": 2, "w3.test": 3}


def test_withoutWeights() -> None:
    """Where nobody has a weight, all have the same chance."""
    table = srv(*((1, 0, 1, f"h{number}.test") for number in range(4)))
    assert {find(table, random=lambda limit, n=n: n % limit)[0].host for n in range(4)} == {
        f"h{n}.test" for n in range(4)
    }


def test_limits() -> None:
    """Of 64 records the sixteen best are kept, and equal ones count once (S07)."""
    table = srv(*((64 - number, 0, 5269, f"h{number}.test") for number in range(64)), (1, 0, 5269, "h63.test"))
    assert [target.host for target in find(table)] == [f"h{63 - number}.test" for number in range(16)]


@pytest.mark.parametrize("bad", [(0, 0, 0, "a.test"), (0, 0, 1, "192.0.2.1"), (0, 0, 1, ""), (0, 0, 1, "a b.test")])
def test_invalid(bad: tuple[int, int, int, str]) -> None:
    """A record of no use is left out; if there is no other, the address of the domain is not used instead."""
    assert find(srv(bad, (9, 0, 5269, "good.test"))) == [Target("good.test", 5269)]
    assert isinstance(find(srv(bad) | {("a.test", A): ["192.0.2.1"]}), NoService)


def test_notOffered() -> None:
    """A target "." denies its own service only, and an address is no way around it (XEP-0368 5)."""
    address = {("a.test", A): ["192.0.2.1"]}
    no = (0, 0, 0, "")
    assert find(srv(no, direct=True) | srv((0, 0, 5269, "b.test"))) == [Target("b.test", 5269)]
    assert find(srv(no) | srv((0, 0, 443, "b.test"), direct=True)) == [Target("b.test", 443, direct=True)]
    assert isinstance(find(srv(no) | address), NoService)
    assert isinstance(find(srv(no, direct=True) | address), NoService)
    assert isinstance(find(srv(no, direct=True) | {(STARTTLS + "a.test", SRV): "SERVFAIL"} | address), NoAnswer)


def test_fallBack() -> None:
    """Without SRV records the domain is the host (RFC 6120 3.2.2)."""
    assert find({("a.test", A): ["192.0.2.1"]}) == [Target("a.test", 5269)]
    assert find({("a.test", AAAA): ["2001:db8::1"]}) == [Target("a.test", 5269)]
    assert isinstance(find({}), NoService)
    assert "no domain" in str(find({}))
    assert "neither SRV" in str(find({("a.test", A): NONE}))


def test_failures() -> None:
    """A failed lookup is no denial: NoAnswer, unless another lookup says enough."""
    slow = "did not answer"
    everything = {(name, kind): slow for name in (DIRECT + "a.test", STARTTLS + "a.test") for kind in (SRV,)}
    everything |= {("a.test", A): slow, ("a.test", AAAA): slow}
    error = find(everything)
    assert isinstance(error, NoAnswer) and slow in str(error)
    # Some servers never answer about SRV.
    assert find(everything | {("a.test", A): ["192.0.2.1"]}) == [Target("a.test", 5269)]
    assert isinstance(find(everything | {("a.test", A): NONE, ("a.test", AAAA): NONE}), NoAnswer)
    assert find(everything | srv((0, 0, 1, "b.test"))) == [Target("b.test", 1)]
    assert isinstance(find({("a.test", A): slow}), NoAnswer)


def test_secure() -> None:
    """Each service is as secure as its own answer; of addresses, all of it has to be proved."""
    both = {
        (DIRECT + "a.test", SRV): records(SRV, (0, 0, 1, "d.test"), secure=True),
        (STARTTLS + "a.test", SRV): records(SRV, (1, 0, 1, "s.test")),
    }
    assert [target.secure for target in find(both)] == [True, False]
    proved = {("a.test", A): records(A, "192.0.2.1", secure=True), ("a.test", AAAA): Answer((), secure=True)}
    assert find(proved)[0].secure
    assert not find(proved | {("a.test", AAAA): NONE})[0].secure
    assert not find(proved | {(STARTTLS + "a.test", SRV): "SERVFAIL"})[0].secure


@pytest.mark.parametrize("domain, host", [("[::1]", "::1"), ("127.0.0.1", "127.0.0.1")])
def test_literals(domain: str, host: str) -> None:
    """An address is its own target; nobody is asked."""
    names = TableNames({})
    assert result(Finder(names).targets(domain)) == [Target(host, 5269)]
    assert names.asked == []


def test_overrides() -> None:
    """What the operator says needs no DNS; it is for this domain only, not for those below."""
    names = TableNames({})
    override = Target("10.0.0.1", 15269, direct=True)
    finder = Finder(names, {"a.test": [override]})
    assert result(finder.targets("a.test")) == [attrs.evolve(override, chosen=True)]
    assert names.asked == []
    assert isinstance(result(finder.targets("b.a.test")), NoService)


def test_international() -> None:
    """Questions are in A-labels, and both services are asked for before anything is answered."""
    waiting: Any = Deferred()
    names = TableNames({(DIRECT + "xn--bcher-kva.test", SRV): waiting})
    found: list[Any] = []
    Finder(names).targets("bücher.test").addBoth(found.append)
    assert names.asked == [(DIRECT + "xn--bcher-kva.test", SRV), (STARTTLS + "xn--bcher-kva.test", SRV)]
    waiting.callback(records(SRV, (0, 0, 5269, "Host.Test")))
    assert found == [[Target("host.test", 5269, direct=True)]]


class CancelTests(SynchronousTestCase):
    """Trial fails a test that leaves an error nobody has seen."""

    def test_cancelled(self) -> None:
        """Who waits may stop waiting."""
        names = TableNames({(prefix + "a.test", SRV): Deferred() for prefix in (DIRECT, STARTTLS)})
        waiting = Finder(names).targets("a.test")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(len(names.asked), 2)
        del waiting
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])


def test_descriptions() -> None:
    """For people."""
    targets = [Target("a.test", 443, True, True), Target("10.0.0.1", 5269, chosen=True)]
    assert describeTargets(targets) == [
        "a.test port 443 (direct TLS), proved by DNSSEC",
        "10.0.0.1 port 5269 (STARTTLS), from the configuration",
    ]
