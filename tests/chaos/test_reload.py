"""SIGHUP under load: new certificates while clients log in (hardening R21), and many reloads (R22)."""

from __future__ import annotations

import datetime
import hashlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.chaos.client import DOMAIN, Loop
from tests.chaos.conftest import LONG, Say
from tests.chaos.rounds import Scene, enter
from tests.chaos.victim import Victim

#: How often the certificate changes, and how often everything is reloaded.
CHANGES = 20 if LONG else 3
RELOADS = 500 if LONG else 100
#: Reloads until the server has what it needs for them.
WARM = 40
#: Room for a slow machine; the figure is printed.
SOON = 30.0
FLAT = 1.15
REFUSED = "the reload was refused"

#: Builds that keep the former certificate, and that lose their streams.
KEEP_OLD = "from xmppservice.edge.tls import TLSProvider; TLSProvider.adopt = lambda self, other: None; "
DROP_STREAMS = (
    "from xmppservice.edge.c2s import C2SFactory; "
    "C2SFactory.refresh = lambda self, _: [each.transport.abortConnection() for each in list(self.streams)]; "
)


class Certificates:
    """Makes pairs of a certificate and its key, and puts them where the server looks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self) -> tuple[bytes, bytes, str]:
        """A certificate, its key, and its fingerprint."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=10))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private = key.private_bytes(encoding, form, serialization.NoEncryption())
        return certificate.public_bytes(encoding), private, certificate.fingerprint(hashes.SHA256()).hex()

    def put(self, certificate: bytes | None, key: bytes | None) -> None:
        """Replace the files that are given."""
        for suffix, data in ((".crt", certificate), (".key", key)):
            if data is not None:
                draft = self._folder / f"draft{suffix}"
                draft.touch(0o600)
                draft.write_bytes(data)
                draft.rename(self._folder / f"{DOMAIN}{suffix}")


class Visitors:
    """Handshakes one after the other on the port for direct TLS; they note which certificate they saw, and when."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = False
        #: Time of the handshake's begin, and the fingerprint; "" for a handshake that failed.
        self.seen: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self._thread.start()

    def _visit(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        while not self._over:
            begin = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", self._port), SOON) as raw:
                    with context.wrap_socket(raw, server_hostname=DOMAIN) as secured:
                        der = secured.getpeercert(binary_form=True) or b""
                self.seen.append((begin, hashlib.sha256(der).hexdigest()))
            except OSError:
                self.seen.append((begin, ""))
            time.sleep(0.002)

    def since(self, moment: float) -> list[str]:
        """What the handshakes saw that began since then."""
        return [fingerprint for begin, fingerprint in list(self.seen) if begin >= moment]

    def end(self) -> None:
        """No more of them."""
        self._over = True
        self._thread.join()


class Change:
    """Clients under load, visitors, and certificates that change."""

    def __init__(self, build: Victim) -> None:
        self.build = build
        self.scene: Scene = enter(build, "v", 20)
        self.loop = Loop(self.scene.clients)
        self.certificates = Certificates(next(build.folder.glob(f"**/{DOMAIN}.crt")).parent)
        self.visitors = Visitors(build.direct)
        self.slowest = 0.0

    def hangUp(self) -> None:
        """SIGHUP."""
        assert self.build.process is not None
        os.kill(self.build.process.pid, signal.SIGHUP)

    def change(self) -> str:
        """A new pair: handshakes show it soon, and from then on no other; returns its fingerprint."""
        certificate, key, fingerprint = self.certificates.make()
        self.certificates.put(certificate, key)
        begin = time.monotonic()
        self.hangUp()
        self.loop.run(lambda: fingerprint in self.visitors.since(begin), SOON)
        self.slowest = max(self.slowest, time.monotonic() - begin)
        moment = time.monotonic()
        self.loop.pause(0.2)
        assert set(self.visitors.since(moment)) == {fingerprint}
        return fingerprint

    def spoil(self, certificate: bytes | None, key: bytes | None, last: str) -> None:
        """Files that cannot be used: the reload is refused in the log, and handshakes show the last good pair."""
        refusals = self.build.log.count(REFUSED)
        self.certificates.put(certificate, key)
        moment = time.monotonic()
        self.hangUp()
        self.loop.run(lambda: self.build.log.count(REFUSED) > refusals, SOON)
        self.loop.pause(0.1)
        assert set(self.visitors.since(moment)) == {last}

    def rest(self, still: bool) -> None:
        """The senders are still, or go on."""
        for sender in self.scene.senders:
            sender.active = not still

    def check(self) -> None:
        """Everybody is still there, and messages go on."""
        gone = [(client.user, client.ended) for client in self.scene.clients if client.sock is None]
        assert not [each for each in gone if each[0] != "never0"], gone
        acked = len(self.scene.book.acked)
        self.loop.run(lambda: len(self.scene.book.acked) > acked, SOON)


@pytest.fixture
def change(build: Victim) -> Iterator[Change]:
    """Load, and visitors that go away at the end."""
    scene = Change(build)
    yield scene
    scene.visitors.end()


@pytest.mark.slow
def test_certificates(change: Change, say: Say) -> None:
    """R21: new handshakes show a new certificate soon, no handshake fails, no stream ends; a broken file, or a key of
    another certificate, leaves the last good pair in use and is told in the log."""
    for _ in range(CHANGES):
        last = change.change()
    other, _, _ = change.certificates.make()
    change.spoil(other, None, last)
    change.spoil(b"no certificate", None, last)
    change.spoil(None, b"no key", last)
    change.change()
    change.check()
    seen = change.visitors.since(0.0)
    say(f"certificate changed {CHANGES + 1} times, refused 3 times, in {len(seen)} handshakes under load: "
        f"{seen.count('')} failed, new one seen within {change.slowest:.2f} s, 0 streams ended\n")  # fmt: skip
    assert "" not in seen
    assert "Traceback" not in change.build.log, change.build.log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "build", [{"sabotage": KEEP_OLD}, {"sabotage": DROP_STREAMS}], ids=["keep-old", "drop-streams"], indirect=True
)
def test_badReloadIsFoundOut(change: Change, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """R21: builds that never show the new certificate, or end their streams, are seen to do so."""
    monkeypatch.setattr("tests.chaos.test_reload.SOON", 2.0)
    with pytest.raises(AssertionError) as caught:
        change.change()
        change.check()
    say(f"sabotaged, new certificate: {str(caught.value).splitlines()[0]}\n")


@pytest.mark.slow
def test_manyReloads(change: Change, say: Say) -> None:
    """R22: valid and invalid reloads in turn: each is whole or refused with its line, nobody is sent away, and the
    memory stays what it was."""
    config = change.build.folder / "xmppservice.toml"
    good = config.read_text("utf-8")
    memory = 0
    # What messages cost is no matter of reloads.
    change.rest(True)
    for number in range(RELOADS):
        bad = number % 2 == 1
        config.write_text(good + ("nonsense = 1\n" if bad else ""), "utf-8")
        word = REFUSED if bad else "certificates read again"
        count = change.build.log.count(word)
        change.hangUp()
        change.loop.run(lambda: change.build.log.count(word) > count, SOON)  # noqa: B023
        # The log leaves out lines that come too often.
        change.loop.pause(0.05)
        if number == WARM:
            memory = change.build.memory
    config.write_text(good, "utf-8")
    grown = change.build.memory / memory
    change.rest(False)
    change.check()
    line = len(good.splitlines()) + 1
    say(f"{RELOADS} reloads, every other one refused: memory ×{grown:.2f}\n")
    assert f"xmppservice.toml:{line}" in change.build.log
    assert grown < FLAT
    assert "Traceback" not in change.build.log, change.build.log[-4000:]
