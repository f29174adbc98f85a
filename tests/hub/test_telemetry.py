"""Figures: gauges, and the lag of the reactor."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xmppservice.hub.telemetry import Telemetry


class TelemetryTests(SynchronousTestCase):
    """One server's figures."""

    def setUp(self) -> None:
        """Start them."""
        self.clock = Clock()
        self.telemetry = Telemetry(self.clock)
        self.telemetry.startService()

    def test_gauges(self) -> None:
        """A gauge is read when asked for and goes with its owner."""
        sessions: list[int] = [1, 2]
        self.telemetry.addGauge("sessions", "Bound sessions.", lambda: len(sessions))
        sessions.append(3)
        self.assertEqual(self.telemetry.snapshot()["sessions"], 3)
        self.assertEqual(self.telemetry.describe()["sessions"], "Bound sessions.")
        self.assertRaises(ValueError, self.telemetry.addGauge, "sessions", "", lambda: 0.0)
        self.telemetry.removeGauge("sessions")
        self.assertNotIn("sessions", self.telemetry.snapshot())

    def test_lag(self) -> None:
        """A timer that fires late shows how long everybody waited."""
        self.clock.advance(1.0)
        self.assertEqual(self.telemetry.lag.last, 0.0)
        self.clock.advance(1.5)
        self.assertAlmostEqual(self.telemetry.lag.last, 0.5)
        self.clock.advance(1.0)
        self.assertAlmostEqual(self.telemetry.snapshot()["lag"], 0.0)
        self.assertAlmostEqual(self.telemetry.snapshot()["lagHighest"], 0.5)
        self.assertGreater(self.telemetry.snapshot()["lagAverage"], 0.0)

    def test_uptime(self) -> None:
        """Counted from the start."""
        self.clock.advance(5)
        self.assertEqual(self.telemetry.uptime, 5)

    def test_stop(self) -> None:
        """Nothing ticks after the stop."""
        self.telemetry.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
