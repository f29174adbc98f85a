"""Last activity (XEP-0012)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.modules.asking import ask, payload, refused
from xmppservice.testing import MemoryServer

LAST = "<query xmlns='jabber:iq:last'/>"


class LastActivityTests(SynchronousTestCase):
    """Uptime of the host, and logouts of accounts."""

    def setUp(self) -> None:
        """Alice's friend Bob is there to ask."""
        self.server = MemoryServer(modules=("last_activity", "disco"))
        self.server.befriend("alice", "bob")
        self.bob = self.server.client("bob/desk")

    def _last(self) -> tuple[str | None, str]:
        query = payload(self.bob, LAST, to="alice@localhost")
        return query.get("seconds"), query.text

    def test_host(self) -> None:
        """The host tells how long it has been running (section 5)."""
        self.server.advance(100.7)
        query = payload(self.bob, LAST, to="localhost")
        self.assertEqual((query.get("seconds"), query.text), ("100", ""))

    def test_logout(self) -> None:
        """A subscriber learns when the account logged out, and its last words (section 3)."""
        alice = self.server.client("alice/phone", available=True)
        alice.send("<presence type='unavailable'><status>Heading home</status></presence>")
        alice.close()
        self.server.advance(903.5)
        self.assertEqual(self._last(), ("903", "Heading home"))

    def test_online(self) -> None:
        """While a resource is connected the time is 0 and there are no words (section 3)."""
        self.server.client("alice/tablet").close()
        self.server.client("alice/phone")
        self.server.advance(50)
        self.assertEqual(self._last(), ("0", ""))

    def test_lastSessionCounts(self) -> None:
        """The logout is the end of the last session, however it ends."""
        first, second = self.server.client("alice/1"), self.server.client("alice/2")
        first.close()
        self.server.advance(10)
        second.lose()
        self.server.advance(5)
        self.assertEqual(self._last(), ("5", ""))

    def test_newerLogoutReplaces(self) -> None:
        """Only the last logout is kept, and old words do not stay."""
        alice = self.server.client("alice/1", available=True)
        alice.send("<presence type='unavailable'><status>One</status></presence>")
        alice.close()
        self.server.advance(10)
        self.server.client("alice/1").close()
        self.server.advance(1)
        self.assertEqual(self._last(), ("1", ""))

    def test_directedUnavailable(self) -> None:
        """Words to one contact are not words to all."""
        alice = self.server.client("alice/1", available=True)
        alice.send("<presence type='unavailable' to='carol@localhost'><status>Not you</status></presence>")
        alice.close()
        self.assertEqual(self._last(), ("0", ""))

    def test_longWords(self) -> None:
        """No status is kept at any length."""
        alice = self.server.client("alice/1", available=True)
        alice.send(f"<presence type='unavailable'><status>{'w' * 5000}</status></presence>")
        alice.close()
        self.assertEqual(len(self._last()[1]), 1024)

    def test_never(self) -> None:
        """An account that was never online has no such time."""
        self.assertEqual(refused(self.bob, LAST, to="alice@localhost"), "item-not-found")

    def test_owner(self) -> None:
        """The owner may ask, and is online."""
        self.assertEqual(payload(self.bob, LAST).get("seconds"), "0")

    def test_stranger(self) -> None:
        """A stranger learns nothing, not even whether there is such an account (section 8)."""
        mallory = self.server.client("mallory/pc")
        self.server.client("alice/phone")
        there, nowhere = ask(mallory, LAST, to="alice@localhost"), ask(mallory, LAST, to="nobody@localhost")
        self.assertEqual(refused(mallory, LAST, to="alice@localhost"), "service-unavailable")
        self.assertEqual(there.children, nowhere.children)

    def test_oneWaySubscription(self) -> None:
        """Being subscribed to somebody gives no right to be asked by them: `to` is not `from`."""
        carol = self.server.account("carol")
        carol.setState("dave@localhost", 32 | 1)
        dave = self.server.client("dave/1")
        self.assertEqual(refused(dave, LAST, to="carol@localhost"), "service-unavailable")

    def test_clockSetBack(self) -> None:
        """A wall clock that was set back makes no negative time."""
        self.server.client("alice/1").close()
        self.server.database.store.apply("last_activity.set", (self.server.account("alice").id, 9e12, ""))
        self.assertEqual(self._last(), ("0", ""))

    def test_deletedAccount(self) -> None:
        """Whoever gets the name of a deleted account inherits no logout."""
        self.server.client("alice/1").close()
        self.server.database.accounts.delete(self.server.account("alice").id)
        rows = self.successResultOf(self.server.database.store.read("last_activity.get", (1,)))
        self.server.host.accounts.forget("alice")
        self.server.befriend("alice", "bob")
        self.assertEqual(rows, [])
        self.assertEqual(refused(self.bob, LAST, to="alice@localhost"), "item-not-found")
