"""`Connector`: one target after the other, bounded in time, and what it tells of each step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.edge.s2s.dialler import DialFailed
from xmppservice.edge.s2s.outgoing import ALL_IN_ALL, ONE_TARGET, Connector, Opening
from xmppservice.edge.s2s.targets import NoAnswer, NoService, Target
from xmppservice.hub.contracts.federation import Step, Unreachable

LOCAL, REMOTE = "ours.example", "theirs.example"


class Driver:
    """A connection whose other end says nothing; `error` is what we ended it with."""

    peer = "192.0.2.9"
    transport = object()

    def __init__(self) -> None:
        self.error = ""

    def fail(self, error: Any) -> None:
        """See `IStream.fail`."""
        self.error = error.condition


class ConnectorTests(SynchronousTestCase):
    """A connector whose targets the test decides about."""

    def setUp(self) -> None:
        """Nothing is known yet; what is dialled is in `openings`, newest last."""
        self.clock = Clock()
        self.targets: Any = succeed([])
        self.refusals: dict[str, list[str]] = {}
        self.openings: list[Opening] = []
        self.drivers: list[Driver] = []
        self.steps: list[Step] = []
        finder: Any = SimpleNamespace(targets=lambda domain: self.targets)
        factory: Any = SimpleNamespace(
            clock=self.clock,
            driverFor=self._made,
            openingOf=lambda driver: self.openings[self.drivers.index(driver)],
        )
        dialler: Any = SimpleNamespace(dial=self._dial)
        self.connector = Connector(finder, dialler, factory)

    def _made(self, opening: Opening) -> Driver:
        self.openings.append(opening)
        self.drivers.append(Driver())
        return self.drivers[-1]

    def _dial(self, target: Target, factory: Any) -> Deferred[Any]:
        reasons = self.refusals.get(target.host)
        return fail(DialFailed(target, reasons)) if reasons else succeed(factory.buildProtocol(None))

    def connect(self, *targets: Target, watched: bool = True) -> Deferred[Any]:
        """An attempt."""
        self.targets = succeed(list(targets))
        tell = (self.steps.append,) if watched else ()
        return self.connector.connect(LOCAL, REMOTE, *tell)

    def reason(self, attempt: Deferred[Any]) -> Unreachable:
        """Why it came to nothing."""
        error: Unreachable = self.failureResultOf(attempt, Unreachable).value
        return error

    def test_silentTargets(self) -> None:
        """Each has its time, and all together theirs: who names sixteen silent hosts holds nobody for minutes (S07)."""
        attempt = self.connect(*(Target(f"{number}.example", 5269) for number in range(16)))
        self.clock.pump([1.0] * int(ALL_IN_ALL - 1))
        self.assertNoResult(attempt)
        self.assertEqual(len(self.openings), 1 + int(ALL_IN_ALL // ONE_TARGET))
        self.clock.advance(1)
        self.assertEqual(self.reason(attempt).reason, "no answer within the time")
        self.assertEqual({driver.error for driver in self.drivers}, {"connection-timeout"})
        self.clock.advance(100)
        self.assertEqual(len(self.openings), 1 + int(ALL_IN_ALL // ONE_TARGET))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_steps(self) -> None:
        """Targets in order, each address that refused, what became of the stream; then success with the next one."""
        first, second = Target("a.example", 5269), Target("192.0.2.9", 5270, direct=True, chosen=True)
        third = Target("c.example", 5269)
        self.refusals["a.example"] = ["refused by ::1", "refused by 127.0.0.1"]
        attempt = self.connect(first, second, third)
        self.openings[0].over(Unreachable("it offers no encryption"))
        link: Any = object()
        self.openings[1].over(link)
        self.assertIs(self.successResultOf(attempt), link)
        self.assertEqual(
            [(step.name, step.result, step.what) for step in self.steps],
            [
                ("DNS", "ok", "1. a.example port 5269 (STARTTLS)"),
                ("DNS", "ok", "2. 192.0.2.9 port 5270 (direct TLS), from the configuration"),
                ("DNS", "ok", "3. c.example port 5269 (STARTTLS)"),
                ("connection", "failed", "refused by ::1"),
                ("connection", "failed", "refused by 127.0.0.1"),
                ("connection", "ok", "192.0.2.9 port 5270 (direct TLS)"),
                ("stream", "failed", "it offers no encryption"),
                ("connection", "ok", "c.example port 5269 (STARTTLS) at 192.0.2.9"),
            ],
        )

    def test_trial(self) -> None:
        """Only what somebody watches is a trial."""
        attempts = [self.connect(Target("a.example", 5269), watched=watched) for watched in (True, False)]
        self.assertEqual([opening.trial for opening in self.openings], [True, False])
        for opening, attempt in zip(self.openings, attempts, strict=True):
            opening.over(Unreachable("the end"))
            self.reason(attempt)

    def test_names(self) -> None:
        """What the DNS says is a step too, and decides what senders are told."""
        for error, condition, lasting in (
            (NoService("there is no domain"), "remote-server-not-found", True),
            (NoAnswer("the name server is silent"), "remote-server-timeout", False),
        ):
            self.targets, self.steps = fail(error), []
            found = self.reason(self.connector.connect(LOCAL, REMOTE, self.steps.append))
            self.assertEqual((found.reason, found.condition, found.lasting), (str(error), condition, lasting))
            self.assertEqual(self.steps, [Step("DNS", "failed", str(error))])

    def test_wholeReasons(self) -> None:
        """Of many reasons those that fit are kept, each of them whole, and the others are counted."""
        hosts = [f"{number}.example" for number in range(16)]
        self.refusals = {host: [f"connection refused by the address of {host}"] for host in hosts}
        reason = self.reason(self.connect(*(Target(host, 5269) for host in hosts))).reason
        shown = reason.split("; ")
        self.assertEqual(shown[-1], f"and {16 - len(shown) + 1} more")
        self.assertTrue(all(part.endswith(".example") for part in shown[:-1]) and len(shown) > 4)
        self.assertLess(len(reason), 550)
