"""The secrets of one virtual host, with look-alikes for users who do not exist.

A stranger who asks for a salt must not learn whether the account exists. So everybody has one: for
users who do not exist it is made from their name with a key that only this server knows. It is the same at
every try, has the length and iteration count of a real one, and is looked up by the same steps.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import implementer

from xmppservice.auth.secrets import ITERATIONS, SALT_SIZE, HashSecrets, StoredSecrets
from xmppservice.hub.contracts.auth import ICredentialStore, IScramSecrets, StoredRecord
from xmppservice.protocol.sasl.credentials import SCRAM_HASHES, ScramKeys


class Entry(NamedTuple):
    """What the keyring has for a name: secrets for every mechanism; `known` if the account exists."""

    known: bool
    enabled: bool
    hashes: dict[str, HashSecrets]


@implementer(IScramSecrets)
class Keyring:
    """Looks up secrets in `store`; `decoyKey` is at least 16 random octets that the server keeps for ever."""

    def __init__(self, store: ICredentialStore, decoyKey: bytes, iterations: int = ITERATIONS) -> None:
        if len(decoyKey) < 16:
            raise ValueError("the decoy key is too short")
        self._store = store
        self._decoyKey = decoyKey
        self._iterations = iterations

    def fetch(self, user: str, mechanism: str) -> Deferred[tuple[bytes, int]]:
        """See IScramSecrets.fetch."""
        return self.entry(user).addCallback(_saltOf, mechanism)

    def entry(self, local: str) -> Deferred[Entry]:
        """Return the secrets of an account, or convincing ones. Fails only if the store does."""
        return self._store.secrets(local).addCallback(self._complete, local)

    def _complete(self, record: StoredRecord | None, local: str) -> Entry:
        """Fill up with decoys what is missing; the decoys are made in any case, so that time tells nothing."""
        hashes = {name: self._decoy(local, name) for name in SCRAM_HASHES}
        if record is None:
            return Entry(False, False, hashes)
        hashes.update(StoredSecrets.decode(record.secrets).hashes)
        return Entry(True, record.enabled, hashes)

    def _decoy(self, local: str, mechanism: str) -> HashSecrets:
        seed = hmac.digest(self._decoyKey, f"{mechanism}\0{local}".encode(), "sha256")
        size = hashlib.new(SCRAM_HASHES[mechanism]).digest_size
        # Nobody can know a password for these keys: they are not derived from one.
        keys = hmac.digest(self._decoyKey, seed, "sha512") + hmac.digest(self._decoyKey, seed + b"s", "sha512")
        return HashSecrets(seed[:SALT_SIZE], self._iterations, ScramKeys(keys[:size], keys[64 : 64 + size]))


def _saltOf(entry: Entry, mechanism: str) -> tuple[bytes, int]:
    secrets = entry.hashes[mechanism]
    return secrets.salt, secrets.iterations
