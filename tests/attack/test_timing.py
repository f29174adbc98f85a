"""Time tells nothing, without a clock: the same calls for everybody (hardening A04, A05). `timing` has the clock."""

from __future__ import annotations

import gc
import random
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute

from tests.attack.timing import LIMIT, LONG_PASSWORD, Result, firstByte, lastByte, trimmed, welch
from xmppservice.auth.checkers import PasswordChecker, ScramChecker
from xmppservice.auth.keyring import Entry, Keyring
from xmppservice.auth.recent import RecentRecords
from xmppservice.auth.secrets import makeSecrets
from xmppservice.hub.contracts.auth import StoredRecord
from xmppservice.hub.contracts.storage import AccountSecrets
from xmppservice.protocol.sasl.credentials import PlainCredentials, ScramCredentials
from xmppservice.server.hosts import HostCredentials
from xmppservice.testing import MemoryServer

pytestmark = pytest.mark.own("looks into our code")

COUNT = 1000
Calls = Counter[str]


def calls(action: Callable[[], Deferred[Any]]) -> Calls:
    """Every function that is called, of Python and of C, and how often."""
    found: Calls = Counter()

    def note(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            found[f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            found[str(getattr(arg, "__qualname__", arg))] += 1

    # A collection in the midst would count what other tests have left behind.
    gc.disable()
    sys.setprofile(note)
    try:
        done = action()
    finally:
        sys.setprofile(None)
        gc.enable()
    done.addErrback(lambda failure: None)
    return found


class Logins:
    """The way of a login from the checkers to a database in memory."""

    def __init__(self, server: MemoryServer) -> None:
        self.credentials = HostCredentials(server.database.accounts, server.host.id)
        self.fresh()

    def fresh(self) -> None:
        """Nobody is remembered."""
        self.keyring = Keyring(RecentRecords(self.credentials, lambda: 0.0), bytes(32), COUNT)
        self.passwords = PasswordChecker(self.keyring, execute)
        self.proofs = ScramChecker(self.keyring)

    def salt(self, user: str) -> Calls:
        """Of a challenge."""
        return calls(lambda: self.keyring.fetch(user, "SCRAM-SHA-1"))

    def password(self, user: str, word: bytes) -> Calls:
        """Of a wrong password."""
        given = PlainCredentials(user.encode(), word)
        return calls(lambda: self.passwords.requestAvatarId(given))

    def proof(self, user: str, proof: bytes) -> Calls:
        """Of a wrong proof."""
        given = ScramCredentials(user, "SCRAM-SHA-1", b"message", proof)
        return calls(lambda: self.proofs.requestAvatarId(given))


@pytest.fixture
def logins() -> Iterator[Logins]:
    """One account, alice; nobody else."""
    server = MemoryServer()
    stored = makeSecrets(LONG_PASSWORD, COUNT).encode()
    for name in ("first", "alice"):
        server.database.accounts.create(server.host.id, name, stored)
    made = Logins(server)
    for warm in ("alice", "nobdy"):
        made.salt(warm), made.password(warm, b"x"), made.proof(warm, bytes(20))
    yield made
    server.stop()


def compared(logins: Logins, ask: Callable[[str], Calls]) -> tuple[Calls, Calls]:
    """For somebody and for nobody, first looked up, then remembered."""
    found = []
    for user in ("alice", "nobdy"):
        logins.fresh()
        found.append(ask(user) + ask(user))
    assert sum(found[0].values()) > 50
    return found[0], found[1]


@pytest.mark.attack("A05")
def test_nobodyIsLookedUpLikeSomebody(logins: Logins) -> None:
    """A05: to the last call, all the way to the database: for salts, passwords and proofs."""
    for ask in (logins.salt, lambda user: logins.password(user, b"wrong"), lambda user: logins.proof(user, bytes(20))):
        known, unknown = compared(logins, ask)
        assert known == unknown, (known - unknown, unknown - known)


@pytest.mark.attack("A04")
def test_whereItIsWrongDoesNotMatter(logins: Logins) -> None:
    """A04: a password, or a proof, that is wrong in its first byte and one that is wrong in its last."""
    right = LONG_PASSWORD.encode()
    first, last = (logins.password("alice", change(right)) for change in (firstByte, lastByte))
    assert first == last and first["pbkdf2_hmac"] == 1
    proof = secrets.token_bytes(20)
    assert logins.proof("alice", firstByte(proof)) == logins.proof("alice", lastByte(proof))


@pytest.mark.attack("A05")
def test_shortCutsAreSeen(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: a step less for nobody, in the keyring or in the database, is a difference."""
    choose = Keyring._choose

    def shorter(self: Keyring, record: Any, local: str, names: Any) -> Entry:
        decoy = self._decoy(local, names[0])
        return choose(self, record, local, names) if record else Entry(False, False, names[0], decoy)

    with monkeypatch.context() as patch:
        patch.setattr(Keyring, "_choose", shorter)
        known, unknown = compared(logins, logins.salt)
        assert known != unknown

    def shortest(found: AccountSecrets | None) -> StoredRecord | None:
        return StoredRecord(found.enabled, found.secrets) if found else None

    monkeypatch.setattr(HostCredentials, "_toRecord", staticmethod(shortest))
    logins.fresh()
    assert logins.salt("nobdy") != logins.salt("alice")


# -- the statistics --------------------------------------------------------------------------------


def _samples(shift: float) -> tuple[list[float], list[float]]:
    """As times are: none below a floor, some far above it. Always the same numbers."""
    source = random.Random(4)
    kinds = [[100 + source.expovariate(0.1) + (source.random() < 0.02) * 5000 for _ in range(4000)] for _ in range(2)]
    return kinds[0], [time + shift for time in kinds[1]]


def test_statistics() -> None:
    """Welch's t by hand; what is alike is below the limit, two microseconds of difference are not, outliers or no."""
    assert round(welch([1, 2, 3], [2, 4, 6]), 6) == -1.549193
    assert abs(Result("alike", *_samples(0)).t) < LIMIT
    assert Result("later", *_samples(2)).t < -LIMIT and abs(welch(*_samples(2))) < LIMIT
    first, second = trimmed([1, 2, 3, 4, 100], [1, 2, 3, 4, 5])
    assert (first, second) == ([1, 2, 3, 4], [1, 2, 3, 4, 5])
