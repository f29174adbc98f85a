"""POSH (RFC 7711): documents, what is kept of them, and how they are fetched, over real HTTPS."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.security.certificates import Authority, Identity, selfSigned
from xmppservice.edge.s2s import web
from xmppservice.edge.s2s.dialler import Dialler
from xmppservice.edge.s2s.networks import PRIVATE
from xmppservice.edge.s2s.posh import LONGEST, MAX_FETCHES, MAX_KEPT, POSH, Useless, readDocument
from xmppservice.edge.s2s.resolving import makeResolver
from xmppservice.edge.s2s.targets import Target
from xmppservice.edge.s2s.trust import Judge
from xmppservice.edge.s2s.web import Fetcher, NotFetched
from xmppservice.edge.tls import PeerCertificate
from xmppservice.protocol.stream.s2s import Verdict

REACTOR: Any = reactor
OWN, OTHER = selfSigned("hosting.test"), selfSigned("other.test")
URL = "https://im.test/.well-known/posh/xmpp-server.json"


def fingerprint(identity: Identity, *names: str) -> dict[str, str]:
    """A fingerprint descriptor."""
    found = {}
    for name in names or ("sha-256",):
        digest = hashlib.new(name.replace("-", ""), identity.der).digest()
        found[name] = base64.b64encode(digest).decode()
    return found


def document(*found: Any, expires: Any = 3600, **more: Any) -> bytes:
    """A fingerprints document."""
    return json.dumps({"fingerprints": list(found), "expires": expires, **more}).encode()


class Web:
    """Answers from a dict, counts, and may let its askers wait."""

    def __init__(self, **pages: bytes) -> None:
        self.pages: dict[str, bytes] = {URL: document(fingerprint(OWN))}
        self.asked: list[str] = []
        self.slow = False
        self.due: list[Deferred[bytes]] = []
        self.now = 0.0
        self.posh = POSH(self.fetch, lambda: self.now)

    def fetch(self, url: str) -> Deferred[bytes]:
        """As a `Fetcher` does."""
        self.asked.append(url)
        if self.slow:
            self.due.append(Deferred())
            return self.due[-1]
        page = self.pages.get(url)
        return fail(NotFetched("status 404")) if page is None else succeed(page)

    def judge(self, identity: Identity = OWN, domain: str = "im.test") -> Verdict | None:
        """The verdict, if there is one yet."""
        shown = PeerCertificate(identity.der, (identity.der,), "self-signed certificate")
        got: list[Verdict] = []
        self.posh.vouches(shown, domain).addCallback(got.append)
        return got[0] if got else None


def test_fingerprints() -> None:
    """Section 3.3: any of the fingerprints, by SHA-256, SHA-384 or SHA-512."""
    fetched = Web()
    assert fetched.judge() == Verdict(True, "posh")
    assert fetched.judge(OTHER) == Verdict(False, "", "POSH has other certificates")
    for names in (["sha-512"], ["sha-384"], ["sha-256", "sha-512"]):
        fetched = Web()
        fetched.pages[URL] = document(fingerprint(OTHER), fingerprint(OWN, *names), {"md5": "AAAA"}, 7)
        assert fetched.judge() == Verdict(True, "posh")


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"sha-1": base64.b64encode(hashlib.sha1(OWN.der).digest()).decode()},
        {"sha-256": fingerprint(OWN)["sha-256"], "sha-512": fingerprint(OTHER, "sha-512")["sha-512"]},
        {"sha-256": fingerprint(OWN)["sha-256"][:20]},
        {"sha-256": ""},
        {"sha-256": None},
        {"sha-256": "\u00e4"},
        [fingerprint(OWN)["sha-256"]],
    ],
)
def test_noFingerprints(found: Any) -> None:
    """Nothing, weak hashes only, hashes that contradict each other, and rubbish."""
    fetched = Web()
    fetched.pages[URL] = document(found)
    assert fetched.judge() == Verdict(False, "", "POSH has other certificates")


def test_withoutPadding() -> None:
    """As in an example of section 3.1."""
    fetched = Web()
    fetched.pages[URL] = document({"sha-256": fingerprint(OWN)["sha-256"].rstrip("=")})
    assert fetched.judge() == Verdict(True, "posh")


def test_expiredCertificate() -> None:
    """Section 6: a fingerprint does not bring a certificate back to life."""
    old = Authority("any").names("im.test", expired=True)
    fetched = Web()
    fetched.pages[URL] = document(fingerprint(old))
    assert fetched.judge(old) == Verdict(False, "", "POSH has this certificate, but it is not in force")


def test_reference() -> None:
    """Section 3.2: one reference, not two; and the lower of both times."""
    fetched = Web()
    there = "https://hosting.test/posh.json"
    fetched.pages |= {URL: json.dumps({"url": there, "expires": 60}).encode(), there: document(fingerprint(OWN))}
    assert fetched.judge() == Verdict(True, "posh")
    fetched.now = 59.0
    assert fetched.judge() == Verdict(True, "posh")
    assert fetched.asked == [URL, there]
    fetched.now, fetched.pages[there] = 61.0, fetched.pages[URL]
    assert fetched.judge() == Verdict(False, "", "no POSH: the POSH document leads on too often")


def test_kept() -> None:
    """Section 6: as long as it says, for a day at most; a failure for some minutes."""
    fetched = Web()
    fetched.pages[URL] = document(fingerprint(OWN), expires=10**12)
    for now, asked in ((0, 1), (LONGEST - 1, 1), (LONGEST + 1, 2)):
        fetched.now = now
        assert fetched.judge() == Verdict(True, "posh")
        assert len(fetched.asked) == asked
    assert fetched.judge(domain="none.test") == Verdict(False, "", "no POSH: status 404")
    fetched.pages["https://none.test/.well-known/posh/xmpp-server.json"] = fetched.pages[URL]
    assert fetched.judge(domain="none.test") == Verdict(False, "", "no POSH: status 404")
    fetched.now += 301
    assert fetched.judge(domain="none.test") == Verdict(True, "posh")


def test_bounded() -> None:
    """What is kept, and what runs at once; equal questions are one."""
    fetched = Web()
    for number in range(MAX_KEPT + 50):
        fetched.judge(domain=f"h{number}.test")
    assert len(fetched.posh._kept) == MAX_KEPT
    fetched.slow, fetched.asked = True, []
    assert fetched.judge() is None
    assert fetched.judge() is None
    assert fetched.asked == [URL]
    for number in range(MAX_FETCHES - 1):
        assert fetched.judge(domain=f"s{number}.test") is None
    assert fetched.judge(domain="more.test") == Verdict(
        False, "", "no POSH: too many POSH documents are being fetched"
    )
    for due in fetched.due:
        due.errback(NotFetched("late"))
    assert fetched.posh._waiting == {}
    assert fetched.judge() == Verdict(False, "", "no POSH: late")


def test_names() -> None:
    """The address has A-labels; addresses have no POSH."""
    fetched = Web()
    fetched.judge(domain="b\u00fccher.test")
    assert fetched.asked == ["https://xn--bcher-kva.test/.well-known/posh/xmpp-server.json"]
    assert fetched.judge(domain="[::1]") == Verdict(False, "", "an address has no POSH")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 60000, "is not JSON"),
        (b"[]", "is not an object"),
        (b'{"fingerprints": []}', "does not say when"),
        (document(expires=-1), "does not say when"),
        (document(expires=1.5), "does not say when"),
        (document(expires=True), "does not say when"),
        (document(expires=0), "has expired"),
        (document(url="https://x.test/"), "useless reference"),
        (b'{"expires": 1, "url": 7}', "useless reference"),
        (b'{"expires": 1, "fingerprints": {}}', "no fingerprints"),
    ],
)
def test_uselessDocuments(data: bytes, reason: str) -> None:
    """Each with its reason."""
    with pytest.raises(Useless, match=reason):
        readDocument(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["fingerprints", "expires", "url", "sha-256", "sha-512"]), inner, max_size=4),
        max_leaves=8,
    )
)
@settings(max_examples=100, deadline=None)
def test_anyJSON(value: Any) -> None:
    """Whatever it is, it is read or refused, and it is about nobody."""
    try:
        assert not readDocument(json.dumps(value).encode()).has(OWN.der)
    except Useless:
        pass


class Page(Protocol):
    """An HTTP server that says the next of its answers, whatever it is asked, and does not hang up by itself."""

    def __init__(self, answers: list[bytes], heard: list[bytes]) -> None:
        self.answers, self.heard = answers, heard

    def dataReceived(self, data: bytes) -> None:
        """A request."""
        transport: Any = self.transport
        self.heard.append(data)
        transport.write(self.answers.pop(0) if self.answers else b"")


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Near:
    """A dialler that finds every name on one port of loopback, and remembers the targets."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.targets: list[Target] = []
        self.transports: list[Any] = []

    def dial(self, target: Target, factory: Any) -> Deferred[Any]:
        """As `Dialler` does."""

        def connected(protocol: Any) -> Any:
            self.transports.append(protocol.transport)
            return protocol

        self.targets.append(target)
        client = clientFromString(REACTOR, f"tcp:127.0.0.1:{self.port}")
        return client.connect(factory).addCallback(connected)


class FetchTests(TestCase):
    """Over real HTTPS."""

    timeout = 20

    def setUp(self) -> Deferred[None]:
        """A web server whose certificate is good for two names."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = Authority("web")
        authority.names("im.test", "hosting.test").write(folder, "web")
        self.trusted = folder / "authorities.pem"
        self.trusted.write_bytes(authority.pem)
        self.answers: list[bytes] = []
        self.heard: list[bytes] = []
        factory = Factory.forProtocol(lambda: Page(self.answers, self.heard))  # type: ignore[arg-type]
        files = f"privateKey={folder / 'web.key'}:certKey={folder / 'web.crt'}"

        def listening(port: Any) -> None:
            self.addCleanup(port.stopListening)
            self.near = Near(port.getHost().port)
            self.fetcher = Fetcher(REACTOR, self.near, self.trusted)  # type: ignore[arg-type]

        return serverFromString(REACTOR, f"ssl:0:interface=127.0.0.1:{files}").listen(factory).addCallback(listening)

    def refused(self, reason: str, url: str = URL) -> Deferred[Any]:
        """The fetch fails for this reason, and leaves no connection."""

        done = self.assertFailure(self.fetcher.fetch(url), NotFetched)
        done.addCallback(lambda error: self.assertIn(reason, str(error)))
        return done.addCallback(self.nothingOpen)

    def nothingOpen(self, _: object) -> Deferred[Any]:
        """Aborted connections end in the next turn of the reactor."""

        def check() -> None:
            self.assertTrue(all(transport.disconnected for transport in self.near.transports))

        return deferLater(REACTOR, 0.01, check)

    def test_document(self) -> Deferred[Any]:
        """From the well-known address to the verdict; nothing is left open."""
        self.answers = [answer(document(fingerprint(OWN)))]
        judge = Judge(POSH(self.fetcher.fetch, REACTOR.seconds))
        shown = PeerCertificate(OWN.der, (OWN.der,), "self-signed certificate")
        done: Any = judge.judge(shown, "im.test", None)

        def check(verdict: Verdict) -> None:
            self.assertEqual(verdict, Verdict(True, "posh"))
            self.assertEqual(self.near.targets, [Target("im.test", 443)])
            self.assertIn(b"GET /.well-known/posh/xmpp-server.json HTTP/1.1\r\n", self.heard[0])
            self.assertIn(b"Accept-Encoding: identity\r\n", self.heard[0])

        return done.addCallback(check).addCallback(self.nothingOpen)

    def test_redirects(self) -> Deferred[Any]:
        """Section 10: to https, three at most, each through the dialler."""
        there = answer(b"", "302 Found", "Location: https://hosting.test:8443/x")
        here = answer(b"", "307 Temporary Redirect", "Location: /y")
        self.answers = [there, here, answer(b"found")]
        done = self.fetcher.fetch(URL).addCallback(self.assertEqual, b"found")

        def look(_: object) -> Deferred[Any]:
            self.assertEqual([target.host for target in self.near.targets], ["im.test", "hosting.test", "hosting.test"])
            self.assertEqual(self.near.targets[1].port, 8443)
            self.answers[:] = [there] * 5
            return self.refused("it leads on too often")

        def plain(_: object) -> Deferred[Any]:
            self.assertEqual(len(self.near.targets), 3 + 4)
            self.answers[:] = [answer(b"", "302 Found", "Location: http://im.test/")]
            return self.refused("an address that is not https")

        return done.addCallback(look).addCallback(plain)

    def test_otherAnswers(self) -> Deferred[Any]:
        """No document, one that is too long, one that ends early, and one that would unpack to much."""
        bomb = gzip.compress(bytes(10 << 20))
        cases = [
            (answer(b"", "404 Not Found"), "status 404"),
            (answer(bytes((64 << 10) + 1)), "too long"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60000, "could not be asked"),
            (answer(bomb, "200 OK", "Content-Encoding: gzip"), "compressed"),
            (b"rubbish\r\n\r\n", "could not be asked"),
            (answer(b"", "302 Found", "Location: https://[::x/"), "could not be asked"),
        ]

        def nextCase(_: object) -> Any:
            if not cases:
                return None
            said, reason = cases.pop(0)
            self.answers[:] = [said]
            return self.refused(reason).addCallback(nextCase)

        return succeed(None).addCallback(nextCase)

    def test_timeout(self) -> Deferred[Any]:
        """A web server that says nothing is left."""
        self.patch(web, "TIMEOUT", 0.2)
        return self.refused("did not answer in time")

    def test_certificates(self) -> Deferred[Any]:
        """The web server must be who it says, by an authority that is trusted."""
        done = self.refused("could not be asked", "https://wrong.test/")

        def stranger(_: object) -> Deferred[Any]:
            self.assertEqual(self.heard, [])
            self.fetcher = Fetcher(REACTOR, self.near)  # type: ignore[arg-type]
            return self.refused("could not be asked")

        return done.addCallback(stranger).addCallback(lambda _: self.assertEqual(self.heard, []))

    def test_refusedNetworks(self) -> Deferred[Any]:
        """S10: what federation does not connect to, is not fetched from either, not even by way of a redirect."""
        walled = Dialler(REACTOR, makeResolver(REACTOR, ["127.0.0.1:9"]), PRIVATE)
        near = self.near.dial
        self.near.dial = lambda target, factory: (  # type: ignore[method-assign]
            walled.dial(target, factory) if target.host == "127.0.0.1" else near(target, factory)
        )
        done = self.refused("127.0.0.1 is in a network that federation refuses", "https://127.0.0.1/")

        def redirected(_: object) -> Deferred[Any]:
            self.answers[:] = [answer(b"", "302 Found", "Location: https://127.0.0.1/")]
            return self.refused("127.0.0.1 is in a network that federation refuses")

        return done.addCallback(redirected)


