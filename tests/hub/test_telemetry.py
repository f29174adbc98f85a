"""Figures: counters, gauges, histograms, their place in a module's life, and the lag of the reactor."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import CHAT, chat
from xmppservice.hub.figures import COUNTER, GAUGE, MOST_LABELS, Counter, Figures, Gauge, Histogram
from xmppservice.hub.module import HostModule
from xmppservice.hub.telemetry import Telemetry
from xmppservice.testing import MemoryServer


class Counting(HostModule):
    """A module with figures of every kind."""

    name = "counting"

    def attached(self) -> None:
        """Register them."""
        self.seen: Counter = self.counter("seen_total", "Things seen.", colour="red")
        self.depth: Gauge = self.gauge("depth", "How deep.", lambda: 7)
        self.times: Histogram = self.histogram("seconds", "How long.", (0.1, 1))


class FiguresTests(SynchronousTestCase):
    """The registry."""

    def setUp(self) -> None:
        """An empty one."""
        self.figures = Figures()

    def test_counter(self) -> None:
        """It is made once for each set of labels and counts up."""
        red = self.figures.counter("things_total", "Things.", colour="red")
        self.assertIs(self.figures.counter("things_total", "Things.", colour="red"), red)
        red.add()
        red.value += 2
        self.figures.counter("things_total", "Things.", colour="blue").add(4)
        self.assertEqual(self.figures.value("things_total", colour="red"), 3)
        self.assertEqual(self.figures.value("things_total"), 7)
        self.assertEqual(self.figures.value("nothing_total"), 0)

    def test_names(self) -> None:
        """What is no name, or taken for something else, is refused."""
        self.figures.gauge("depth", "")
        for call in (
            lambda: self.figures.counter("things", ""),
            lambda: self.figures.gauge("depth", ""),
            lambda: self.figures.histogram("depth", ""),
            lambda: self.figures.gauge("a-b", ""),
            lambda: self.figures.gauge("ab\n", ""),
            lambda: self.figures.gauge("other", "", None, **{"a b": "c"}),
            lambda: self.figures.histogram("times", "", (2, 1)),
        ):
            self.assertRaises(ValueError, call)

    def test_labelsAreBounded(self) -> None:
        """Whatever somebody makes labels of, there are not more of them than so many (hardening H07)."""
        for number in range(MOST_LABELS * 3):
            self.figures.counter("things_total", "", what=str(number)).add()
        family = self.figures.families()[0]
        self.assertLessEqual(len(family.members), MOST_LABELS + 1)
        self.assertEqual(self.figures.value("things_total"), MOST_LABELS * 3)
        self.assertEqual(self.figures.value("things_total", what="other"), MOST_LABELS * 2)

    def test_histogram(self) -> None:
        """Each value counts in the first bucket that holds it; bounds belong to theirs."""
        histogram = self.figures.histogram("seconds", "", (0.1, 1))
        for value in (0.05, 0.1, 0.5, 3):
            histogram.observe(value)
        self.assertEqual(histogram.cumulated(), [2, 3, 4])
        self.assertAlmostEqual(histogram.total, 3.65)
        self.assertEqual(self.figures.value("seconds"), 4)

    def test_readWhenAsked(self) -> None:
        """Gauges and tables cost nothing until somebody looks."""
        things = ["a"]
        self.figures.gauge("length", "", lambda: len(things))
        self.figures.table("by_name", COUNTER, "", ("name",), lambda: {(name,): 1.0 for name in things})
        things.append("b")
        self.assertEqual(self.figures.value("length"), 2)
        self.assertEqual(self.figures.value("by_name", name="b"), 1)

    def test_remove(self) -> None:
        """A figure goes with its owner; the name with its last figure."""
        one, two = self.figures.gauge("depth", "", host="a"), self.figures.gauge("depth", "", host="b")
        self.figures.remove(one)
        self.assertEqual([family.name for family in self.figures.families()], ["depth"])
        self.figures.remove(two)
        self.assertEqual(self.figures.families(), [])
        self.figures.table("depth", GAUGE, "", (), dict)


class ModuleTests(SynchronousTestCase):
    """Figures of modules."""

    def test_comeAndGo(self) -> None:
        """A module's figures carry its name and host, two hosts may have it, and they are gone when it is detached."""
        server = MemoryServer(domains=("a.test", "b.test"))
        self.addCleanup(server.stop)
        hosts = server.hosts
        before = [family.name for family in hosts["a.test"].figures.families()]
        for host in hosts.values():
            module = Counting(host, None)
            module.attached()
            module.seen.add(2)
            module.times.observe(0.5)
            if host.name == "a.test":
                first = module
        figures = hosts["a.test"].figures
        self.assertIs(figures, hosts["b.test"].figures)
        self.assertEqual(figures.value("xmppservice_counting_seen_total", host="a.test", colour="red"), 2)
        self.assertEqual(figures.value("xmppservice_counting_seen_total"), 4)
        self.assertEqual(figures.value("xmppservice_counting_depth", host="b.test"), 7)
        self.assertEqual(figures.value("xmppservice_counting_seconds", host="a.test"), 1)
        first.cleanUp()
        self.assertEqual(figures.value("xmppservice_counting_seen_total"), 2)
        module.cleanUp()
        self.assertEqual([family.name for family in figures.families()], before)


class TrafficTests(SynchronousTestCase):
    """Stanzas are counted where they pass."""

    def test_stanzas(self) -> None:
        """By direction and kind; errors by condition."""
        server = MemoryServer(CHAT)
        self.addCleanup(server.stop)
        alice, bob = server.client("alice/one", True), server.client("bob/two", True)
        traffic = server.host.traffic
        before = traffic.stanzas()
        chat(alice, "bob@localhost/two", "1")
        chat(alice, "bob@localhost", "2")
        alice.send("<iq type='get' id='a' to='nobody@localhost'><x xmlns='y'/></iq>")
        alice.send("<message to='@' id='b'><body>x</body></message>")
        bob.send("<presence><show>away</show></presence>")
        grown = {key: count - before[key] for key, count in traffic.stanzas().items()}
        self.assertEqual(grown["in", "message"], 3)
        self.assertEqual(grown["in", "iq"], 1)
        self.assertEqual(grown["in", "presence"], 1)
        self.assertEqual(grown["out", "message"], 3)
        self.assertEqual(grown["out", "iq"], 1)
        self.assertEqual(traffic.errors, {"service-unavailable": 1, "jid-malformed": 1})


class TelemetryTests(SynchronousTestCase):
    """One server's figures."""

    def setUp(self) -> None:
        """Start them."""
        self.clock = Clock()
        self.telemetry = Telemetry(self.clock)
        self.telemetry.startService()

    def test_lag(self) -> None:
        """A timer that fires late shows how long everybody waited."""
        self.clock.advance(1.0)
        self.assertEqual(self.telemetry.lag.last, 0.0)
        self.clock.advance(1.5)
        self.assertAlmostEqual(self.telemetry.lag.last, 0.5)
        self.clock.advance(1.0)
        self.assertAlmostEqual(self.telemetry.lag.last, 0.0)
        self.assertAlmostEqual(self.telemetry.lag.highest, 0.5)
        self.assertGreater(self.telemetry.lag.average, 0.0)
        self.assertEqual(self.telemetry.figures.value("xmppservice_reactor_lag_seconds"), 3)

    def test_uptime(self) -> None:
        """Counted from the start."""
        self.clock.advance(5)
        self.assertEqual(self.telemetry.uptime, 5)
        self.assertEqual(self.telemetry.figures.value("xmppservice_uptime_seconds"), 5)

    def test_stop(self) -> None:
        """Nothing ticks after the stop."""
        self.telemetry.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
