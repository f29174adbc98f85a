"""Stored secrets: what is kept of a password, and how it is kept."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from tests.protocol.sasl.scramclient import ScramClient
from xmppservice.auth.secrets import ITERATIONS, BadPassword, StoredSecrets, makeSecrets, preparePassword
from xmppservice.protocol.sasl.credentials import SCRAM_HASHES, deriveKeys


class SecretsTests(SynchronousTestCase):
    """makeSecrets and its stored form."""

    def test_allHashes(self) -> None:
        """Every hash has keys of its size, at least 10,000 iterations and a salt of its own."""
        secrets = makeSecrets("pencil")
        self.assertEqual(set(secrets.hashes), set(SCRAM_HASHES))
        self.assertGreaterEqual(ITERATIONS, 10_000)
        self.assertEqual(len({entry.salt for entry in secrets.hashes.values()}), 3)
        for name, size in (("SCRAM-SHA-1", 20), ("SCRAM-SHA-256", 32), ("SCRAM-SHA-512", 64)):
            entry = secrets.hashes[name]
            self.assertEqual((len(entry.keys.storedKey), len(entry.keys.serverKey)), (size, size))
            self.assertEqual((len(entry.salt), entry.iterations), (16, ITERATIONS))

    def test_roundTrip(self) -> None:
        """What is stored reads back, and holds no password."""
        secrets = makeSecrets("pencil", 16)
        data = secrets.encode()
        self.assertNotIn(b"pencil", data)
        again = StoredSecrets.decode(data)
        self.assertEqual(again.encode(), data)
        for name, entry in again.hashes.items():
            keys = deriveKeys(name, b"pencil", entry.salt, 16)
            self.assertEqual(keys.storedKey, entry.keys.storedKey)
            self.assertEqual(keys.serverKey, entry.keys.serverKey)

    def test_salted(self) -> None:
        """The same password twice makes different keys."""
        one, two = (makeSecrets("pencil", 16).hashes["SCRAM-SHA-1"].keys.storedKey for _ in range(2))
        self.assertNotEqual(one, two)

    def test_chosenMechanisms(self) -> None:
        """A caller may make fewer sets."""
        self.assertEqual(list(makeSecrets("x", 16, ["SCRAM-SHA-256"]).hashes), ["SCRAM-SHA-256"])

    def test_foreignData(self) -> None:
        """Data of another format are an error, not a login."""
        good = makeSecrets("x", 16).encode()
        line = b"1\nSCRAM-SHA-1 x QQ== QQ== QQ=="
        for data in (b"", b"0", b"2\n", b"1\nrubbish", b"\xff", line, good + b"\n", b"plain"):
            self.assertRaises(ValueError, StoredSecrets.decode, data)

    def test_badPasswords(self) -> None:
        """Empty, too long, or with characters that OpaqueString forbids (RFC 8265 4.2)."""
        for password in ("", "p" * 1023, "tab\there", "nul\0", "\ud800", "\u200d"):
            self.assertRaises(BadPassword, makeSecrets, password, 16)

    def test_preparation(self) -> None:
        """OpaqueString: case and ASCII spaces stay, other spaces become one, composition is normalised."""
        self.assertEqual(preparePassword("Hello World "), b"Hello World ")
        self.assertEqual(preparePassword(" leading"), b" leading")
        self.assertEqual(preparePassword("a\u3000b"), b"a b")
        self.assertEqual(preparePassword("\u3000b"), b" b")
        self.assertEqual(preparePassword("u\u0308"), "\xfc".encode())
        self.assertEqual(preparePassword("\u0338x"), "\u0338x".encode())
        self.assertEqual(preparePassword("\xbd"), "\xbd".encode())

    def test_clientAgrees(self) -> None:
        """A client that hashes the prepared password comes to the same keys."""
        entry = makeSecrets("gr\xfcn", 16).hashes["SCRAM-SHA-256"]
        client = ScramClient("alice", "gr\xfcn", "sha256", nonce="abc")
        client.first()
        proof = client.final(b"r=abcd,s=" + base64.b64encode(entry.salt) + b",i=16")
        self.assertIn(b",p=", proof)
