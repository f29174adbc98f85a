"""Nobody learns from a login whether an account exists (A05)."""

from __future__ import annotations

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.world import COUNT, DECOY_KEY, MemoryStore, World, result, runHere
from xmppservice.auth.checkers import PasswordChecker, ScramChecker
from xmppservice.auth.keyring import Keyring
from xmppservice.auth.recent import RecentRecords
from xmppservice.auth.secrets import makeSecrets
from xmppservice.hub.contracts.auth import LoginRefused, StoredRecord
from xmppservice.protocol.sasl.credentials import SCRAM_HASHES, PlainCredentials, ScramCredentials


class KeyringTests(SynchronousTestCase):
    """Salts for everybody."""

    def setUp(self) -> None:
        """Make a world."""
        self.world = World()
        self.keyring = self.world.keyring

    def test_sameShape(self) -> None:
        """Salt length and iteration count are the same for known, disabled and unknown users."""
        for mechanism in SCRAM_HASHES:
            shapes = set()
            for user in ("alice", "carol", "nobody", "x"):
                salt, count = result(self.keyring.fetch(user, mechanism))
                shapes.add((len(salt), count))
            self.assertEqual(shapes, {(16, COUNT)})

    def test_stable(self) -> None:
        """An unknown user has the same salt at every try and after a restart; others have others."""
        first = result(self.keyring.fetch("nobody", "SCRAM-SHA-1"))
        self.assertEqual(first, result(self.keyring.fetch("nobody", "SCRAM-SHA-1")))
        self.assertEqual(first, result(Keyring(MemoryStore(), DECOY_KEY, COUNT).fetch("nobody", "SCRAM-SHA-1")))
        self.assertNotEqual(first, result(self.keyring.fetch("nobody", "SCRAM-SHA-256")))
        self.assertNotEqual(first, result(self.keyring.fetch("nobody2", "SCRAM-SHA-1")))
        self.assertNotEqual(first, result(Keyring(MemoryStore(), bytes(32), COUNT).fetch("nobody", "SCRAM-SHA-1")))

    def test_shortKey(self) -> None:
        """A decoy key that could be guessed is refused."""
        self.assertRaises(ValueError, Keyring, MemoryStore(), b"short")

    def test_decoyNeverVerifies(self) -> None:
        """Even a proof that fits the made-up keys opens no account that does not exist."""
        entry = result(self.keyring.entry("nobody", ("SCRAM-SHA-1",)))
        self.assertFalse(entry.known)

        class Perfect(ScramCredentials):
            """Credentials that fit everything."""

            __slots__ = ()

            def verify(self, keys: object) -> bool:
                """Fit."""
                return True

        perfect = Perfect("nobody", "SCRAM-SHA-1", b"", b"")
        self.failureResultOf(ScramChecker(self.keyring).requestAvatarId(perfect), UnauthorizedLogin)

    def test_missingHash(self) -> None:
        """An account without keys for a hash answers for it like one that does not exist; a password still works."""
        self.world.store.records["old"] = StoredRecord(True, makeSecrets("secret", COUNT, ["SCRAM-SHA-1"]).encode())
        self.assertEqual(len(result(self.keyring.fetch("old", "SCRAM-SHA-512"))[0]), 16)
        checker = PasswordChecker(self.keyring, runHere)
        self.assertEqual(result(checker.requestAvatarId(PlainCredentials(b"old", b"secret"))), b"old")

    def test_corruptRecord(self) -> None:
        """A record that cannot be read is trouble of ours, and no login."""
        self.world.store.records["alice"] = StoredRecord(True, b"plain:secret")
        self.failureResultOf(self.keyring.fetch("alice", "SCRAM-SHA-1"), ValueError)


class PasswordTests(SynchronousTestCase):
    """Deriving keys costs the same for everybody, and the reactor nothing."""

    def setUp(self) -> None:
        """Collect the derivations that are asked for, without running them."""
        self.calls: list[tuple[Deferred[object], object, tuple[object, ...]]] = []
        self.checker = PasswordChecker(World().keyring, self.later, parallel=2, waiting=3)

    def later(self, function: object, *args: object) -> Deferred[object]:
        """Stand in for a thread pool that is busy."""
        done: Deferred[object] = Deferred()
        self.calls.append((done, function, args))
        return done

    def finish(self) -> None:
        """Let the first derivation end."""
        done, function, args = self.calls.pop(0)
        done.callback(function(*args))  # type: ignore[operator]

    def test_samePath(self) -> None:
        """For an unknown user a derivation with as many iterations runs."""
        for name in (b"alice", b"nobody"):
            d = self.checker.requestAvatarId(PlainCredentials(name, b"wrong"))
            _, _, (mechanism, password, secrets) = self.calls[0]
            self.assertEqual((mechanism, password, secrets.iterations), ("SCRAM-SHA-256", b"wrong", COUNT))  # type: ignore[attr-defined]
            self.finish()
            self.failureResultOf(d, UnauthorizedLogin)

    def test_bounded(self) -> None:
        """Only so many run at once, only so many wait; the rest is told to come back (A08)."""
        pending = [self.checker.requestAvatarId(PlainCredentials(b"alice", b"secret")) for _ in range(5)]
        self.assertEqual(len(self.calls), 2)
        refused = self.checker.requestAvatarId(PlainCredentials(b"alice", b"secret"))
        error = self.failureResultOf(refused, LoginRefused).value
        self.assertEqual(error.condition, "temporary-auth-failure")
        while self.calls:
            self.finish()
        self.assertEqual([self.successResultOf(d) for d in pending], [b"alice"] * 5)

    def test_impossibleInput(self) -> None:
        """What can be nobody's name or password costs no derivation."""
        impossible = [(b"a@b", b"x"), (b"\xff", b"x"), (b"alice", b"\xff"), (b"alice", b""), (b"alice", b"\t")]
        for name, password in impossible:
            d = self.checker.requestAvatarId(PlainCredentials(name, password))
            self.failureResultOf(d, UnauthorizedLogin)
        self.assertEqual(self.calls, [])


class RecentTests(SynchronousTestCase):
    """Records between salt and proof."""

    def setUp(self) -> None:
        """Put a memory in front of a counting store."""
        self.now = 0.0
        self.reads: list[Deferred[StoredRecord | None]] = []
        self.recent = RecentRecords(self, lambda: self.now, seconds=30.0, size=3)  # type: ignore[arg-type]

    def secrets(self, local: str) -> Deferred[StoredRecord | None]:
        """Stand in for a store that takes its time."""
        self.reads.append(Deferred())
        return self.reads[-1]

    def test_once(self) -> None:
        """One login costs one read, whether or not the account exists."""
        for record in (StoredRecord(True, b"x"), None):
            self.now += 100
            before = len(self.reads)
            d = self.recent.secrets("alice")
            self.reads[-1].callback(record)
            self.assertEqual(self.successResultOf(d), record)
            self.assertEqual(self.successResultOf(self.recent.secrets("alice")), record)
            self.assertEqual(len(self.reads), before + 1)

    def test_forgotten(self) -> None:
        """After a change, and after a while, the store is asked again."""
        self.recent.secrets("alice")
        self.reads[0].callback(None)
        self.recent.forget("alice")
        self.recent.secrets("alice")
        self.assertEqual(len(self.reads), 2)
        self.reads[1].callback(None)
        self.now = 31.0
        self.recent.secrets("alice")
        self.assertEqual(len(self.reads), 3)

    def test_changeDuringRead(self) -> None:
        """What was being read when the account changed is not kept."""
        self.recent.secrets("alice")
        self.recent.forget("alice")
        self.reads[0].callback(StoredRecord(True, b"old"))
        self.recent.secrets("alice")
        self.assertEqual(len(self.reads), 2)

    def test_bounded(self) -> None:
        """A flood of names does not fill the memory."""
        for number in range(10):
            self.recent.secrets(f"user{number}")
            self.reads[-1].callback(None)
        self.recent.secrets("user9")
        self.assertEqual(len(self.reads), 10)
        self.recent.secrets("user0")
        self.assertEqual(len(self.reads), 11)
