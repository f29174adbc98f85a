"""Guessing gets slower and slower, for the guesser only (A06)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from xmppservice.auth.throttle import Throttle
from xmppservice.hub.contracts.auth import IThrottle
from xmppservice.protocol.networks import networkOf


class ThrottleTests(SynchronousTestCase):
    """Tallies per address, and per account from an address."""

    def setUp(self) -> None:
        """Start with nothing counted."""
        self.now = 1000.0
        self.throttle = Throttle(lambda: self.now, size=50)

    def test_contract(self) -> None:
        """It is an IThrottle."""
        verifyObject(IThrottle, self.throttle)

    def test_grows(self) -> None:
        """A few failures are free, then each answer comes later, up to a ceiling."""
        delays = [self.throttle.failed("192.0.2.1", "alice") for _ in range(10)]
        self.assertEqual(delays, [0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0])

    def test_refusal(self) -> None:
        """A hundred wrong passwords from one address: refused for a while, not for ever."""
        for number in range(100):
            self.throttle.failed("192.0.2.1", f"user{number}")
        wait = self.throttle.refusal("192.0.2.1")
        self.assertGreater(wait, 0.0)
        self.assertLessEqual(wait, 301.0)
        self.now += wait + 1
        self.assertEqual(self.throttle.refusal("192.0.2.1"), 0.0)

    def test_endless(self) -> None:
        """However many fail, delay and refusal stay finite."""
        for _ in range(5000):
            self.assertLessEqual(self.throttle.failed("192.0.2.1", "alice"), 8.0)
        self.assertLessEqual(self.throttle.refusal("192.0.2.1", "alice"), 301.0)

    def test_ownerElsewhere(self) -> None:
        """The owner of an account that is being guessed logs in from another address undisturbed."""
        for _ in range(100):
            self.throttle.failed("192.0.2.1", "alice")
        self.assertGreater(self.throttle.refusal("192.0.2.1", "alice"), 0.0)
        self.assertEqual(self.throttle.refusal("192.0.2.2", "alice"), 0.0)
        self.assertEqual(self.throttle.failed("192.0.2.2", "alice"), 0.0)

    def test_neighbours(self) -> None:
        """One forgetful user behind a shared address is refused before the address is."""
        for _ in range(16):
            self.throttle.failed("192.0.2.1", "alice")
        self.assertGreater(self.throttle.refusal("192.0.2.1", "alice"), 0.0)
        self.assertEqual(self.throttle.refusal("192.0.2.1", "bob"), 0.0)
        self.assertEqual(self.throttle.refusal("192.0.2.1"), 0.0)

    def test_success(self) -> None:
        """A success forgets the account's own failures, and no others from that address."""
        for _ in range(5):
            self.throttle.failed("192.0.2.1", "alice")
        self.throttle.succeeded("192.0.2.1", "alice")
        self.assertEqual([self.throttle.failed("192.0.2.1", "alice") for _ in range(3)], [0.0, 0.0, 0.0])
        for number in range(60):
            self.throttle.failed("198.51.100.1", f"victim{number % 6}")
            self.throttle.succeeded("198.51.100.1", "attacker")
        self.assertGreater(self.throttle.refusal("198.51.100.1"), 0.0)

    def test_decay(self) -> None:
        """Old failures fade."""
        for _ in range(6):
            self.throttle.failed("192.0.2.1", "alice")
        self.now += 3600
        self.assertEqual(self.throttle.failed("192.0.2.1", "alice"), 0.0)

    def test_clockBack(self) -> None:
        """A clock that steps back makes no failure grow."""
        self.throttle.failed("192.0.2.1", "alice")
        self.now -= 500
        self.assertEqual(self.throttle.failed("192.0.2.1", "alice"), 0.0)

    def test_networks(self) -> None:
        """IPv6 counts by /64, mapped IPv4 as IPv4, anything else as itself."""
        self.assertEqual(networkOf("2001:db8::1"), networkOf("2001:db8::ffff:2"))
        self.assertNotEqual(networkOf("2001:db8::1"), networkOf("2001:db8:0:1::1"))
        self.assertEqual(networkOf("::ffff:192.0.2.1"), "192.0.2.1")
        self.assertEqual(networkOf("[2001:db8::1]"), networkOf("2001:db8::1"))
        self.assertEqual(networkOf("fe80::1%eth0"), "fe80::/64")
        self.assertEqual(networkOf("unix"), "unix")
        for number in range(20):
            self.throttle.failed(f"2001:db8::{number:x}", "alice")
        self.assertGreater(self.throttle.refusal("2001:db8::dead", "alice"), 0.0)

    def test_bounded(self) -> None:
        """Many addresses and absurd names fill no memory; the latest stay known."""
        for number in range(500):
            self.throttle.failed(f"10.0.{number // 256}.{number % 256}", "n" * 1000)
        self.assertLessEqual(len(self.throttle._accounts), 50)
        self.assertLessEqual(len(self.throttle._addresses), 50)
        self.throttle.failed("192.0.2.1", "\ud800")
