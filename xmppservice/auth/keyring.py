"""The secrets of one virtual host, with look-alikes for users who do not exist.

A stranger who asks for a salt must not learn whether the account exists. So everybody has one: for
users who do not exist it is made from their name with a key that only this server knows. It is the same at
every try, has the length and iteration count of a real one, and is looked up by the same steps.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import implementer

from xmppservice.auth.secrets import ITERATIONS, SALT_SIZE, HashSecrets, StoredSecrets
from xmppservice.hub.contracts.auth import ICredentialStore, IScramSecrets, StoredRecord
from xmppservice.protocol.sasl.credentials import SCRAM_HASHES, ScramKeys


class Entry(NamedTuple):
    """What the keyring has for a name: secrets for one mechanism; `known` if the account exists."""

    known: bool
    enabled: bool
    mechanism: str
    secrets: HashSecrets


@implementer(IScramSecrets)
class Keyring:
    """Looks up secrets in `store`; `decoyKey` is at least 16 random octets that the server keeps for ever."""

    def __init__(self, store: ICredentialStore, decoyKey: bytes, iterations: int = ITERATIONS) -> None:
        if len(decoyKey) < 16:
            raise ValueError("the decoy key is too short")
        self._store = store
        self._decoyKey = decoyKey
        self._iterations = iterations
        self._nobody = StoredSecrets({name: self._decoy("", name) for name in SCRAM_HASHES}).encode()

    def fetch(self, user: str, mechanism: str) -> Deferred[tuple[bytes, int]]:
        """See IScramSecrets.fetch."""
        return self.entry(user, (mechanism,)).addCallback(_saltOf)

    def entry(self, local: str, mechanisms: Sequence[str]) -> Deferred[Entry]:
        """Return secrets for the first of `mechanisms` that the account has, or convincing ones.

        Fails only if the store does.
        """
        return self._store.secrets(local).addCallback(self._choose, local, mechanisms)

    def _choose(self, record: StoredRecord | None, local: str, mechanisms: Sequence[str]) -> Entry:
        """Take the same steps for everybody, so that time tells nothing either."""
        decoy = self._decoy(local, mechanisms[0])
        hashes = StoredSecrets.decode(self._nobody if record is None else record.secrets).hashes
        mechanism = next((name for name in mechanisms if name in hashes), None)
        if record is None:
            return Entry(False, False, mechanisms[0], decoy)
        if mechanism is None:
            return Entry(True, record.enabled, mechanisms[0], decoy)
        return Entry(True, record.enabled, mechanism, hashes[mechanism])

    def _decoy(self, local: str, mechanism: str) -> HashSecrets:
        seed = hmac.digest(self._decoyKey, f"{mechanism}\0{local}".encode(), "sha512")
        # Nobody can know a password for these keys: they are not derived from one.
        size = hashlib.new(SCRAM_HASHES[mechanism]).digest_size
        more = hmac.digest(self._decoyKey, seed, "sha512")
        return HashSecrets(seed[:SALT_SIZE], self._iterations, ScramKeys(more[:size], seed[-size:]))


def _saltOf(entry: Entry) -> tuple[bytes, int]:
    return entry.secrets.salt, entry.secrets.iterations
