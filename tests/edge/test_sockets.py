"""Real sockets and real TLS: the client is Python's own `ssl`, in a thread."""

from __future__ import annotations

import gc
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.edge.doubles import (
    HOST,
    PASSWORD,
    TestHost,
    auth,
    b64,
    bind,
    header,
    response,
    scramFinal,
)
from xmppservice.edge.c2s import C2SFactory
from xmppservice.edge.certificates import CertificateProblem, makeDevelopmentCertificate
from xmppservice.edge.service import StreamService
from xmppservice.edge.settings import StreamSettings
from xmppservice.edge.tls import TLSProvider
from xmppservice.wire import ns

STARTTLS = f"<starttls xmlns='{ns.TLS}'/>"
HOSTS = (HOST, "other.test")


class Client:
    """A blocking client."""

    def __init__(self, port: int, authority: Path) -> None:
        self.socket: Any = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.context = ssl.create_default_context(cafile=authority)

    def say(self, text: str, until: str) -> str:
        """Send, and read until something is there."""
        self.socket.sendall(text.encode())
        return self.read(until)

    def read(self, until: str) -> str:
        """Read until something is there, or the end."""
        heard = ""
        while until not in heard:
            data = self.socket.recv(65536).decode()
            if not data:
                break
            heard += data
        return heard

    def rest(self) -> bytes:
        """All up to the end of the connection."""
        data = b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except ConnectionResetError:
            data += b"RESET"
        return data

    def startTLS(self, name: str = HOST) -> None:
        """Do the handshake."""
        self.socket = self.context.wrap_socket(self.socket, server_hostname=name)

    def openTLS(self, to: str = HOST) -> None:
        """Header, STARTTLS, handshake."""
        self.say(header(to), "</stream:features>")
        self.say(STARTTLS, "proceed")
        self.startTLS(to)

    def logIn(self, to: str = HOST, resource: str = "desk") -> str:
        """PLAIN and bind, on a secured connection."""
        self.say(header(to), "</stream:features>")
        self.say(auth("PLAIN", b"\0alice\0" + PASSWORD), "success")
        self.say(header(to), "</stream:features>")
        return self.say(bind(resource), "</iq>")

    def close(self) -> None:
        """Close."""
        self.socket.close()


class SocketCase(TestCase):
    """A service on loopback, with and without direct TLS."""

    timeout = 20
    settings: dict[str, Any] = {}

    def setUp(self) -> Deferred[None]:
        """Listen."""
        self.folder = Path(self.mktemp())
        self.authority = makeDevelopmentCertificate(self.folder, HOSTS)
        self.tls = TLSProvider(self.folder, HOSTS)
        self.hosts = {name: TestHost(name) for name in HOSTS}
        self.factory = C2SFactory(self.hosts.get, HOST, StreamSettings(**self.settings), reactor, self.tls)  # type: ignore[arg-type]
        endpoint = "tcp:0:interface=127.0.0.1"
        self.service = StreamService(
            self.factory, [serverFromString(reactor, endpoint)], [serverFromString(reactor, endpoint)]
        )
        self.service.privilegedStartService()
        return self.service.startService()

    def tearDown(self) -> Deferred[None]:
        """Stop."""
        return self.service.stopService()

    def play(self, script: Callable[[Client], Any], direct: bool = False) -> Deferred[Any]:
        """Run a client's script in a thread."""
        address: Any = self.service.ports[int(direct)].getHost()

        def run() -> Any:
            client = Client(address.port, self.authority)
            try:
                return script(client)
            finally:
                client.close()

        return deferToThread(run)


class TLSTests(SocketCase):
    """RFC 6120 section 5, XEP-0368, hardening T04 and T05."""

    def test_startTLS(self) -> Deferred[Any]:
        """STARTTLS, PLAIN, bind, a message, and a clean end; the certificate is verified."""

        def script(client: Client) -> None:
            client.openTLS()
            self.assertEqual(client.socket.version(), "TLSv1.3")
            self.assertIn("alice@example.com/desk", client.logIn())
            self.assertEqual(client.say("<message/></stream:stream>", "</stream:stream>"), "</stream:stream>")
            self.assertEqual(client.rest(), b"")

        def check(_: object) -> None:
            session = self.hosts[HOST].sessions[0]
            self.assertEqual(len(session.received), 1)
            self.assertEqual(session.calls, ["closed"])
            self.assertTrue(session.stream.secure)

        return self.play(script).addCallback(check)

    def test_certificateByStream(self) -> Deferred[Any]:
        """With STARTTLS the stream's 'to' chooses the certificate."""
        return self.play(lambda client: (client.openTLS("other.test"), client.logIn("other.test")))

    def test_directTLS(self) -> Deferred[Any]:
        """ALPN is answered, SNI chooses the certificate."""

        def script(client: Client) -> None:
            client.context.set_alpn_protocols(["xmpp-client"])
            client.startTLS("other.test")
            self.assertEqual(client.socket.selected_alpn_protocol(), "xmpp-client")
            features = client.say(header("other.test"), "</stream:features>")
            self.assertNotIn("starttls", features)
            self.assertIn("<mechanism>SCRAM-SHA-1-PLUS</mechanism>", features)

        return self.play(script, direct=True)

    def test_withoutNames(self) -> Deferred[Any]:
        """Neither ALPN nor SNI: the first host's certificate."""

        def script(client: Client) -> None:
            client.context.check_hostname = False
            client.socket = client.context.wrap_socket(client.socket)
            names = client.socket.getpeercert()["subjectAltName"]
            self.assertIn(("DNS", HOST), names)
            self.assertIsNone(client.socket.selected_alpn_protocol())

        return self.play(script, direct=True)

    def test_oldVersionsAndCiphers(self) -> Deferred[Any]:
        """TLS 1.2 with ECDHE and AEAD is taken; CBC, static RSA and TLS 1.1 are not."""

        def script(client: Client) -> None:
            client.context.maximum_version = ssl.TLSVersion.TLSv1_2
            client.context.set_ciphers("ECDHE+AESGCM")
            client.startTLS()
            self.assertEqual(client.socket.version(), "TLSv1.2")

        def refused(ciphers: str, version: ssl.TLSVersion) -> Callable[[Client], None]:
            def script(client: Client) -> None:
                client.context.minimum_version = ssl.TLSVersion.TLSv1
                client.context.maximum_version = version
                client.context.set_ciphers(ciphers)
                with self.assertRaises((ssl.SSLError, ConnectionError)):
                    client.startTLS()

            return script

        done = self.play(script, direct=True)
        for ciphers, version in (
            ("ECDHE+AES+SHA256:@SECLEVEL=0", ssl.TLSVersion.TLSv1_2),
            ("RSA+AES:@SECLEVEL=0", ssl.TLSVersion.TLSv1_2),
            ("ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_1),
        ):
            script_ = refused(ciphers, version)
            done.addCallback(lambda _, script=script_: self.play(script, direct=True))  # type: ignore[misc]
        return done

    def test_channelBindings(self) -> Deferred[Any]:
        """The end point hash is offered on 1.2, the exporter only on 1.3; both ends agree on it."""

        def script(client: Client) -> str:
            client.context.maximum_version = ssl.TLSVersion.TLSv1_2
            client.startTLS()
            return client.say(header(), "</stream:features>")

        def check(features: str) -> None:
            self.assertIn("<channel-binding type='tls-server-end-point'/>", features)
            self.assertNotIn("tls-exporter", features)

        return self.play(script, direct=True).addCallback(check).addCallback(lambda _: self.play(self.plus, True))

    def plus(self, client: Client) -> None:
        """SCRAM-SHA-1-PLUS with tls-server-end-point."""
        import hashlib

        client.startTLS()
        client.say(header(), "</stream:features>")
        start = b"p=tls-server-end-point,,"
        binding = hashlib.sha256(client.socket.getpeercert(True)).digest()
        first = "n=alice,r=abc"
        challenge = client.say(auth("SCRAM-SHA-1-PLUS", start + first.encode()), "</challenge>")
        final = scramFinal(first, challenge, channel=start + binding)
        self.assertIn("<success", client.say(response(final), ">"))

    def test_exporter(self) -> Deferred[Any]:
        """SCRAM-SHA-1-PLUS with tls-exporter (RFC 9266), the client's side by pyOpenSSL."""

        def script(client: Client) -> None:
            connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), client.socket)
            client.socket.setblocking(True)
            connection.set_tlsext_host_name(HOST.encode())
            connection.set_connect_state()
            connection.do_handshake()
            client.socket = connection
            client.say(header(), "</stream:features>")
            start = b"p=tls-exporter,,"
            binding = connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
            first = "n=alice,r=abc"
            challenge = client.say(auth("SCRAM-SHA-1-PLUS", start + first.encode()), "</challenge>")
            final = scramFinal(first, challenge, channel=start + binding)
            self.assertIn("<success", client.say(response(final), ">"))

        return self.play(script, direct=True)

    def test_garbageInsteadOfHandshake(self) -> Deferred[Any]:
        """The connection is closed, without a word in the clear and without traceback."""

        def script(client: Client) -> bytes:
            client.say(header(), "</stream:features>")
            client.say(STARTTLS, "proceed")
            client.socket.sendall(header().encode())
            return client.rest()

        def check(heard: bytes) -> None:
            self.assertNotIn(b"<", heard)
            self.assertEqual(self.flushLoggedErrors(), [])

        return self.play(script).addCallback(check)

    def test_reload(self) -> Deferred[Any]:
        """New certificates serve new streams; a bad pair changes nothing."""
        former = self.tls.pairs()[HOST].certificate.serial_number
        for suffix in ("crt", "key"):
            (self.folder / f"{HOST}.{suffix}").unlink()
        self.assertRaises(CertificateProblem, self.tls.reload)
        self.assertEqual(self.tls.pairs()[HOST].certificate.serial_number, former)
        makeDevelopmentCertificate(self.folder, HOSTS)
        self.tls.reload()

        def script(client: Client) -> Any:
            client.openTLS()
            return client.socket.getpeercert()["serialNumber"]

        def check(serial: str) -> None:
            self.assertEqual(int(serial, 16), self.tls.pairs()[HOST].certificate.serial_number)
            self.assertNotEqual(int(serial, 16), former)

        return self.play(script).addCallback(check)


class EndTests(SocketCase):
    """How connections close, as the peer sees it."""

    settings = {"tls": "optional", "enabled": False}

    def scram(self, client: Client) -> str:
        """Log in without TLS."""
        client.say(header(), "</stream:features>")
        first = "n=alice,r=abc"
        challenge = client.say(auth("SCRAM-SHA-1", "n,," + first), "</challenge>")
        client.say(response(scramFinal(first, challenge)), "success")
        client.say(header(), "</stream:features>")
        return client.say(bind("desk"), "</iq>")

    def test_errorIsReadable(self) -> Deferred[Any]:
        """An error reaches the peer whole, however much it had still to say; no reset."""

        def script(client: Client) -> bytes:
            client.say(header(), "</stream:features>")
            client.socket.sendall(b"<message/>" + b"x" * 60_000)
            return client.rest()

        def check(heard: bytes) -> None:
            self.assertIn(b"<not-authorized", heard)
            self.assertTrue(heard.endswith(b"</stream:stream>"), heard[-100:])

        return self.play(script).addCallback(check)

    def test_halfClose(self) -> Deferred[Any]:
        """A peer that shuts down its sending half is answered with our footer."""

        def script(client: Client) -> bytes:
            self.scram(client)
            client.socket.shutdown(socket.SHUT_WR)
            return client.rest()

        def check(heard: bytes) -> None:
            self.assertEqual(heard, b"</stream:stream>")
            self.assertEqual(self.hosts[HOST].sessions[0].calls, ["lost"])

        return self.play(script).addCallback(check)

    def test_reset(self) -> Deferred[Any]:
        """A reset is the loss of the stream and nothing else."""

        def script(client: Client) -> None:
            self.scram(client)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def check(_: object) -> Deferred[None]:
            done: Deferred[None] = Deferred()

            def poll() -> None:
                if self.factory.streams:
                    reactor.callLater(0.01, poll)  # type: ignore[attr-defined]
                    return
                self.assertEqual(self.hosts[HOST].sessions[0].calls, ["lost"])
                done.callback(None)

            poll()
            return done

        return self.play(script).addCallback(check)

    def test_shutDown(self) -> Deferred[Any]:
        """SIGTERM's share: last acknowledgement, system-shutdown, closed."""

        def script(client: Client) -> bytes:
            self.scram(client)
            reactor.callFromThread(lambda: stopping.append(self.service.stopService()))  # type: ignore[attr-defined]
            return client.rest()

        stopping: list[Deferred[None]] = []

        def check(heard: bytes) -> Deferred[None]:
            self.assertLess(heard.index(b"<a "), heard.index(b"<system-shutdown"))
            self.assertTrue(heard.endswith(b"</stream:stream>"))
            return stopping[0]

        return self.play(script).addCallback(check)

    def test_slowReader(self) -> Deferred[Any]:
        """Hardening D04: a peer that reads nothing is dropped, and its session told."""
        import threading

        enough = threading.Event()

        def script(client: Client) -> None:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.scram(client)
            reactor.callFromThread(flood, 0)  # type: ignore[attr-defined]
            self.assertTrue(enough.wait(10))

        def flood(count: int) -> None:
            session = self.hosts[HOST].sessions[0]
            session.stream.send(b"<message><body>" + b"x" * 60_000 + b"</body></message>")
            if session.calls:
                self.assertEqual(session.calls, ["lost"])
                enough.set()
            elif count < 1000:
                reactor.callLater(0, flood, count + 1)  # type: ignore[attr-defined]

        return self.play(script)

    def test_messagesInOnePiece(self) -> Deferred[Any]:
        """What one turn sends arrives in one read."""

        def script(client: Client) -> bytes:
            self.scram(client)
            client.socket.sendall(b"<iq/>")
            data = bytes(client.socket.recv(65536))
            return data

        def answer(session: Any) -> None:
            session.onReceive = lambda element: [session.stream.send(b"<message/>") for _ in range(50)]

        original = self.hosts[HOST].sessionType

        def make(jid: Any, stream: Any) -> Any:
            session = original(jid, stream)
            answer(session)
            return session

        self.hosts[HOST].sessionType = make
        return self.play(script).addCallback(lambda data: self.assertEqual(data, b"<message/>" * 50))


class AdmissionTests(SocketCase):
    """Limits at the door."""

    settings = {"perAddress": 1}

    def test_oneTooMany(self) -> Deferred[Any]:
        """The second connection of an address is closed, with and without direct TLS; the first lives on."""

        def second(client: Client) -> None:
            self.assertEqual(client.rest().replace(b"RESET", b""), b"")

        def first(client: Client) -> str:
            for port in self.service.ports:
                address: Any = port.getHost()
                try:
                    other = Client(address.port, self.authority)
                except ConnectionResetError:
                    # Closed before the client was told that it was open.
                    continue
                second(other)
                other.close()
            return client.say(header(), "</stream:features>")

        done = self.play(first).addCallback(lambda said: self.assertIn("<starttls", said))
        return done.addCallback(lambda _: self.assertEqual(self.flushLoggedErrors(), []))


class DeadlineTests(SocketCase):
    """Those who never say who they are."""

    settings = {"authenticationDeadline": 2.0}

    def test_silence(self) -> Deferred[Any]:
        """Hardening D02: silence, and a TLS handshake that never comes, end by the deadline."""
        done = self.play(lambda client: client.rest())
        done.addCallback(lambda heard: self.assertIn(b"<connection-timeout", heard))
        done.addCallback(lambda _: self.play(lambda client: client.rest(), direct=True))

        def stalled(client: Client) -> bytes:
            client.say(header(), "</stream:features>")
            client.say(STARTTLS, "proceed")
            return client.rest()

        done.addCallback(lambda heard: self.assertNotIn(b"<", heard))
        done.addCallback(lambda _: self.play(stalled))
        return done.addCallback(lambda heard: self.assertNotIn(b"<", heard))


class ClientCertificateTests(SocketCase):
    """SASL EXTERNAL (XEP-0178): asked for, not required."""

    def setUp(self) -> Deferred[None]:
        """A provider that asks, and a client's certificate by the same authority."""
        started = super().setUp()
        makeDevelopmentCertificate(self.folder, ["alice@example.com"])
        asking = TLSProvider(self.folder, HOSTS, clientCertificates=True, authorities=self.authority)
        self.tls.adopt(asking)
        return started

    def test_without(self) -> Deferred[Any]:
        """No certificate: no EXTERNAL."""

        def script(client: Client) -> None:
            client.startTLS()
            self.assertNotIn("EXTERNAL", client.say(header(), "</stream:features>"))

        return self.play(script, direct=True)

    def test_external(self) -> Deferred[Any]:
        """The certificate's xmppAddr is who the client is."""

        def script(client: Client) -> None:
            path = self.folder / "alice@example.com"
            client.context.load_cert_chain(f"{path}.crt", f"{path}.key")
            client.startTLS()
            features = client.say(header(), "</stream:features>")
            self.assertIn("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL<", features)
            said = client.say(f"<auth xmlns='{ns.SASL}' mechanism='EXTERNAL'>=</auth>", ">")
            self.assertIn("<success", said)
            self.assertEqual(b64(b""), "")

        return self.play(script, direct=True)


class LeakTests(SocketCase):
    """Connections leave nothing behind."""

    settings = {"enabled": False}

    def test_tlsConnections(self) -> Deferred[Any]:
        """After TLS streams have come and gone, neither driver nor layer is referenced."""

        def script(client: Client) -> None:
            client.openTLS()
            client.logIn()
            client.say("</stream:stream>", "</stream:stream>")
            client.rest()

        def check(_: object) -> None:
            from xmppservice.edge.driver import StreamDriver
            from xmppservice.edge.tls import TLSLayer

            self.hosts[HOST].sessions.clear()
            gc.collect()
            alive = [thing for thing in gc.get_objects() if isinstance(thing, StreamDriver | TLSLayer)]
            self.assertEqual(len([thing for thing in alive if getattr(thing, "factory", None) is self.factory]), 0)
            for layers in self.tls._layers.values():
                self.assertEqual(layers.protocols, {})

        def settle(_: object) -> Deferred[None]:
            done: Deferred[None] = Deferred()
            reactor.callLater(0.1, done.callback, None)  # type: ignore[attr-defined]
            return done

        running = self.play(script)
        for _ in range(3):
            running.addCallback(lambda _: self.play(script))
        return running.addCallback(settle).addCallback(check)
