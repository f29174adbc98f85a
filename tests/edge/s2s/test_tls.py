"""TLS between servers on real sockets, both ways (RFC 6120 13.7, XEP-0178, XEP-0368)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.security.certificates import Authority, Identity, selfSigned
from xmppservice.edge.certificates import CertificateProblem
from xmppservice.edge.tls import PeerCertificate, ServerTLS, TLSProvider, TrustStore

REACTOR: Any = reactor
DER = Encoding.DER
NEAR, FAR = "near.test", "far.test"


class End(Protocol):
    """One end of a connection: starts TLS at once, says a word, and keeps what it learns of its peer."""

    def __init__(self, start: Callable[[End], Any], tls: ServerTLS, speaks: bool) -> None:
        self.start, self.tls, self.speaks = start, tls, speaks
        self.early: object = "not asked"
        self.learnt: Deferred[tuple[PeerCertificate | None, str]] = Deferred()

    def connectionMade(self) -> None:
        """Both may start when the connection is there, as after <proceed/>."""
        transport: Any = self.start(self)
        self.transport = transport
        self.early = self.tls.peerCertificate(transport)
        if self.speaks:
            transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        """The handshake is over."""
        transport: Any = self.transport
        if not self.speaks:
            transport.write(b"hello")
        chosen = (transport.getHandle().get_alpn_proto_negotiated() or b"").decode()
        learnt, self.learnt = self.learnt, Deferred()
        learnt.callback((self.tls.peerCertificate(transport), chosen))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever waits gets the reason."""
        self.learnt.addErrback(lambda _: None)
        self.learnt.errback(reason)


class MeetingCase(TestCase):
    """Two servers with certificates of one authority."""

    timeout = 20

    def setUp(self) -> None:
        """Certificates for both."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.authority = Authority("test authority", None)
        self.trusted = self.folder / "authorities.pem"
        self.trusted.write_bytes(self.authority.pem)
        self.near = self.server(NEAR, self.authority.names(NEAR))
        self.far = self.server(FAR, self.authority.names(FAR))

    def server(self, domain: str, identity: Identity, *chain: Any) -> ServerTLS:
        """What a server with this certificate uses."""
        identity.write(self.folder, domain, *chain)
        return ServerTLS(TLSProvider(self.folder, [domain]), self.trusted)

    def meet(self, local: str = NEAR, remote: str = FAR, alpn: bool = False) -> Deferred[Any]:
        """`near` calls `far`; gives what the called one has learnt, and what the calling one has."""

        def call(end: End) -> Any:
            return self.near.startClientTLS(end, end.transport, local, remote, REACTOR, alpn)

        def answer(end: End) -> Any:
            return self.far.startTLS(end, end.transport, self.far.hosts[0], REACTOR)

        self.caller, self.called = End(call, self.near, True), End(answer, self.far, False)
        factory = Factory.forProtocol(lambda: self.called)  # type: ignore[arg-type]
        return self.connect(factory)

    def meetDirectly(self, remote: str, alpn: bool = True) -> Deferred[Any]:
        """The same, where `far` listens for TLS at once and SNI chooses its certificate."""

        def call(end: End) -> Any:
            return self.near.startClientTLS(end, end.transport, NEAR, remote, REACTOR, alpn)

        self.caller, self.called = End(call, self.near, True), End(lambda end: end.transport, self.far, False)
        factory = Factory.forProtocol(lambda: self.called)  # type: ignore[arg-type]
        return self.connect(self.far.directFactory(factory, REACTOR))

    def connect(self, factory: Any) -> Deferred[Any]:
        """Listen, connect, and wait for both ends."""

        def listening(port: Any) -> Deferred[Any]:
            self.addCleanup(port.stopListening)
            both = gatherResults([self.called.learnt, self.caller.learnt], consumeErrors=True)
            client = clientFromString(REACTOR, f"tcp:127.0.0.1:{port.getHost().port}")
            return connectProtocol(client, self.caller).addCallback(lambda _: both)

        def close(result: Any) -> Any:
            for end in (self.caller, self.called):
                transport: Any = end.transport
                transport.abortConnection()
            return result

        listened: Deferred[Any] = serverFromString(REACTOR, "tcp:0:interface=127.0.0.1").listen(factory)
        return listened.addCallback(listening).addBoth(close)


class BothWaysTests(MeetingCase):
    """Each end sees the other's certificate, and none ends the handshake."""

    def test_good(self) -> Deferred[Any]:
        """Certificates that only say serverAuth serve both ends; before the handshake there are none."""

        def check(learnt: Any) -> None:
            (called, _), (caller, _) = learnt
            self.assertEqual((called.error, caller.error), ("", ""))
            self.assertEqual(called.der, self.near.pairs()[NEAR].certificate.public_bytes(DER))
            self.assertEqual(caller.der, self.far.pairs()[FAR].certificate.public_bytes(DER))
            self.assertEqual((self.caller.early, self.called.early), (None, None))
            self.assertIsNone(self.far.clientCertificate(self.called.transport))
            self.assertRegex(self.near.describe(self.caller.transport), "TLSv1.3 TLS_AES")
            self.assertEqual(list(self.near.bindings(self.caller.transport)), ["tls-exporter"])

        return self.meet().addCallback(check)

    def test_chain(self) -> Deferred[Any]:
        """An authority between is shown with the certificate, on both ends, the certificate first."""
        deputy = self.authority.deputy("deputy", usage=ExtendedKeyUsageOID.SERVER_AUTH)
        near, far = deputy.names(NEAR), deputy.names(FAR)
        self.near = self.server(NEAR, near, deputy.own.certificate)
        self.far = self.server(FAR, far, deputy.own.certificate)

        def check(learnt: Any) -> None:
            (called, _), (caller, _) = learnt
            self.assertEqual((called.error, called.chain), ("", (near.der, deputy.own.der)))
            self.assertEqual((caller.error, caller.chain), ("", (far.der, deputy.own.der)))

        return self.meet().addCallback(check)

    def test_bad(self) -> Deferred[Any]:
        """A self-signed certificate and one that has expired: both ends know, and talk."""
        self.near = self.server(NEAR, selfSigned(NEAR))
        self.far = self.server(FAR, self.authority.names(FAR, expired=True))

        def check(learnt: Any) -> None:
            (called, _), (caller, _) = learnt
            self.assertEqual(called.error, "self-signed certificate")
            self.assertEqual(caller.error, "certificate has expired")

        return self.meet().addCallback(check)

    def test_noCertificate(self) -> Deferred[Any]:
        """A local host without a certificate calls without one."""

        def check(learnt: Any) -> None:
            (called, _), (caller, _) = learnt
            self.assertIsNone(called)
            self.assertEqual(caller.error, "")

        return self.meet(local="other.test").addCallback(check)

    def test_clientOnly(self) -> Deferred[Any]:
        """A certificate for TLS clients may call, but not be called (hardening T06)."""
        for domain in (NEAR, FAR):
            identity = self.authority.names(domain, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
            identity.write(self.folder, domain)
        self.near.reload()
        self.far.reload()

        def check(learnt: Any) -> None:
            (called, _), (caller, _) = learnt
            self.assertEqual((called.error, caller.error), ("", "not for servers"))

        return self.meet().addCallback(check)


class DirectTests(MeetingCase):
    """TLS before the stream (XEP-0368)."""

    def test_byName(self) -> Deferred[Any]:
        """SNI in A-labels chooses the certificate, ALPN says xmpp-server."""
        idn = "b\u00fccher.test"
        identity = self.authority.names("xn--bcher-kva.test")
        identity.write(self.folder, idn)
        self.far.reload([FAR, idn])

        def check(learnt: Any) -> None:
            (called, calledALPN), (caller, callerALPN) = learnt
            self.assertEqual(caller.der, identity.der)
            self.assertEqual((calledALPN, callerALPN), ("xmpp-server", "xmpp-server"))
            self.assertEqual((called.error, caller.error), ("", ""))

        return self.meetDirectly(idn).addCallback(check)

    def test_address(self) -> Deferred[Any]:
        """No SNI for an address (RFC 6066 3); the default certificate; no ALPN unless it was asked for."""

        def check(learnt: Any) -> None:
            (_, chosen), (caller, _) = learnt
            self.assertEqual(chosen, "")
            self.assertIsNone(self.called.transport.getHandle().get_servername())  # type: ignore[union-attr]
            self.assertEqual(caller.der, self.far.pairs()[FAR].certificate.public_bytes(DER))

        done = self.meetDirectly("127.0.0.1", alpn=False).addCallback(check)
        return done.addCallback(lambda _: self.meetDirectly("[::1]", alpn=False)).addCallback(check)

    def test_clientsProtocol(self) -> Deferred[Any]:
        """A client's ALPN at a port for servers gets an alert."""
        factory = self.far.directFactory(Factory.forProtocol(Protocol), REACTOR)
        listening = serverFromString(REACTOR, "tcp:0:interface=127.0.0.1").listen(factory)

        def shake(port: int) -> str:
            context = ssl.create_default_context(cafile=self.trusted)
            context.set_alpn_protocols(["xmpp-client"])
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
                    context.wrap_socket(plain, server_hostname=FAR).close()
            except ssl.SSLError as error:
                return str(error)
            return "accepted"

        def listened(port: Any) -> Deferred[str]:
            self.addCleanup(port.stopListening)
            return deferToThread(shake, port.getHost().port)

        done: Deferred[Any] = listening.addCallback(listened)
        return done.addCallback(lambda said: self.assertIn("alert no application protocol", said))


class ReloadTests(MeetingCase):
    """A reload of the clients' certificates is one of the servers' (both ways)."""

    def test_follows(self) -> Deferred[Any]:
        """`adopt` of a new provider is seen by the next connections, called and calling."""
        sources = {}
        for domain in (NEAR, FAR):
            sources[domain] = TLSProvider(self.folder, [domain])
        self.near, self.far = (ServerTLS(sources[domain], self.trusted) for domain in (NEAR, FAR))
        fresh = {domain: self.authority.names(domain) for domain in (NEAR, FAR)}

        def renew(learnt: Any) -> Deferred[Any]:
            self.assertNotEqual(learnt[0][0].der, fresh[NEAR].der)
            for domain, identity in fresh.items():
                identity.write(self.folder, domain)
                sources[domain].adopt(TLSProvider(self.folder, [domain]))
            return self.meet()

        def check(learnt: Any) -> None:
            (called, _), (caller, _) = learnt
            self.assertEqual((called.der, caller.der), (fresh[NEAR].der, fresh[FAR].der))

        return self.meet().addCallback(renew).addCallback(check)

    def test_authorities(self) -> Deferred[Any]:
        """`adopt` of another `ServerTLS` changes who is trusted."""
        other = self.folder / "other.pem"
        other.write_bytes(Authority("other").pem)
        self.near.adopt(ServerTLS(TLSProvider(self.folder, [NEAR]), other))

        def check(learnt: Any) -> None:
            (called, _), (caller, _) = learnt
            self.assertEqual(called.error, "")
            self.assertEqual(caller.error, "issued by an authority that is not trusted here")

        return self.meet().addCallback(check)

    def test_contextsAreShared(self) -> Deferred[Any]:
        """One context for all calls of a host, one for all that have no certificate."""
        done = self.meet().addCallback(lambda _: self.meet()).addCallback(lambda _: self.meet(local="a.test"))
        done.addCallback(lambda _: self.meet(local="b.test"))
        return done.addCallback(lambda _: self.assertEqual(set(self.near._initiators), {NEAR, ""}))


class ChainTests(SynchronousTestCase):
    """Chains without sockets: who issued what, for how long, for which purpose, how strongly."""

    def setUp(self) -> None:
        """An authority that is trusted."""
        self.authority = Authority("root", None)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        path = self.folder / "authorities.pem"
        path.write_bytes(self.authority.pem)
        self.trust = TrustStore(path)

    def verify(self, *chain: Identity, incoming: bool = False) -> str:
        """What the store says."""
        return self.trust.verify([identity.der for identity in chain], incoming)

    def test_time(self) -> None:
        """Not before and not after its time (RFC 5280 4.1.2.5)."""
        self.assertEqual(self.verify(self.authority.names(FAR)), "")
        self.assertEqual(self.verify(self.authority.names(FAR, expired=True)), "certificate has expired")
        self.assertEqual(self.verify(self.authority.names(FAR, future=True)), "certificate is not yet valid")

    def test_issuers(self) -> None:
        """Only authorities issue; an issuer that is not shown is not known."""
        deputy, false = self.authority.deputy("deputy"), self.authority.deputy("false", authority=False)
        self.assertEqual(self.verify(deputy.names(FAR), deputy.own), "")
        untrusted = "issued by an authority that is not trusted here"
        self.assertEqual(self.verify(deputy.names(FAR)), untrusted)
        self.assertEqual(self.verify(Authority("root").names(FAR)), "certificate signature failure")
        stranger = Authority("stranger")
        self.assertEqual(self.verify(stranger.names(FAR), stranger.own), untrusted)
        self.assertEqual(self.verify(false.names(FAR), false.own), "issued by a certificate that is not an authority's")

    def test_purposes(self) -> None:
        """The certificate and those between must allow servers; an incoming peer may be any end of TLS."""
        client = ExtendedKeyUsageOID.CLIENT_AUTH
        only = self.authority.names(FAR, usage=client)
        self.assertEqual((self.verify(only), self.verify(only, incoming=True)), ("not for servers", ""))
        mail = self.authority.names(FAR, usage=ExtendedKeyUsageOID.EMAIL_PROTECTION)
        self.assertEqual(self.verify(mail, incoming=True), "not for servers")
        self.assertEqual(self.verify(self.authority.names(FAR, usage=None)), "")
        deputy = self.authority.deputy("deputy", usage=client)
        self.assertEqual(self.verify(deputy.names(FAR), deputy.own), "its issuer is not for servers")
        self.assertEqual(self.verify(self.authority.names(FAR, authority=True)),
                         "an authority's certificate, not a server's")  # fmt: skip

    def test_strength(self) -> None:
        """A key of 1024 bits proves nothing any more."""
        weak = rsa.generate_private_key(65537, 1024)
        self.assertEqual(self.verify(self.authority.names(FAR, key=weak)), "weak key")

    def test_garbage(self) -> None:
        """No certificate at all."""
        self.assertEqual(self.trust.verify([b"\x30\x03\x02\x01\x00"]), "malformed certificate")

    def test_files(self) -> None:
        """A file of authorities that cannot be used is said so at the start."""
        empty = self.folder / "empty.pem"
        empty.write_bytes(b"")
        for path in (empty, self.folder / "missing.pem"):
            with self.assertRaisesRegex(CertificateProblem, f"{path.name}: no authorities"):
                TrustStore(path)

    def test_system(self) -> None:
        """Without a file the system's authorities decide, and none of them knows ours."""
        untrusted = "issued by an authority that is not trusted here"
        self.assertEqual(TrustStore().verify([self.authority.names(FAR).der]), untrusted)
