"""The resolver against a real name server on loopback, well and badly behaved (R25, S07, S08)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, DeferredList, inlineCallbacks
from twisted.trial.unittest import TestCase

from tests.dns import DNSServer
from xmppservice.edge.s2s.nameservers import ConfiguredServers, NameServer, SystemServers
from xmppservice.edge.s2s.questions import AAAA, SRV, TLSA, A, LookupFailed
from xmppservice.edge.s2s.resolving import Resolver, ResolverLimits, makeResolver
from xmppservice.edge.s2s.targets import Finder, NoAnswer, NoService

QUICK = ResolverLimits(total=2.0, rounds=(0.2, 0.2))
ZONE: dict[str, Any] = {
    "a.test": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"], "ttl": 7200},
    "_xmpp-server._tcp.a.test": {"SRV": [[1, 2, 5269, "XMPP.a.test"]], "secure": True},
    "_5269._tcp.a.test": {"TLSA": [[3, 1, 1, "00ff"]]},
    "alias.test": {"CNAME": ["other.test"]},
    "other.test": {"CNAME": ["a.test"]},
    "_xmpp-server._tcp.cycle.test": {"CNAME": ["_xmpp-server._tcp.elcyc.test"]},
    "_xmpp-server._tcp.elcyc.test": {"CNAME": ["_xmpp-server._tcp.cycle.test"]},
    "cycle.test": {"CNAME": ["elcyc.test"]},
    "elcyc.test": {"CNAME": ["cycle.test"]},
    "_xmpp-server._tcp.many.test": {"SRV": [[n, 0, 5269, f"host{n}.many.test"] for n in range(64)], "ttl": 0},
    "brief.test": {"A": ["192.0.2.1"], "ttl": 0},
    "none.test": {"mode": "nxdomain"},
    "_xmpp-server._tcp.port.test": {"SRV": [[0, 0, 0, "a.test"]]},
}
BAD = ("silent", "garbage", "loop", "deep", "cut", "wrong-id", "wrong-question", "elsewhere", "stalled", "huge")


class ResolverTests(TestCase):
    """A name server, and resolvers that ask it."""

    def setUp(self) -> None:
        """Each test has a server of its own."""
        self.reactor: Any = reactor
        self.server = DNSServer(reactor, ZONE)
        self.addCleanup(self.server.stop)
        self.address = f"127.0.0.1:{self.server.start()}"

    def resolver(self, *addresses: str, limits: ResolverLimits = QUICK) -> Resolver:
        """A resolver for these addresses, or for the server's."""
        resolver = Resolver(reactor, ConfiguredServers(addresses or [self.address]), limits)
        self.addCleanup(resolver.stop)
        return resolver

    def bad(self, mode: str) -> str:
        """A name that is answered in a bad way."""
        self.server.zone[f"{mode}.test"] = {"mode": mode, "A": ["192.0.2.6"]}
        return f"{mode}.test"

    @inlineCallbacks
    def test_records(self) -> Any:
        """Each type that federation needs, over UDP, without regard to case."""
        resolver = self.resolver()
        answer = yield resolver.ask("A.TEST", A)
        self.assertEqual([record.dottedQuad() for record in answer.records], ["192.0.2.1", "192.0.2.2"])
        self.assertEqual((answer.exists, answer.secure, answer.ttl), (True, False, 7200))
        answer = yield resolver.ask("a.test", AAAA)
        self.assertEqual(socket.inet_ntop(socket.AF_INET6, answer.records[0].address), "2001:db8::1")
        answer = yield resolver.ask("_xmpp-server._tcp.a.test", SRV)
        self.assertEqual([(each.priority, each.weight, each.port) for each in answer.records], [(1, 2, 5269)])
        answer = yield resolver.ask("_5269._tcp.a.test", TLSA)
        self.assertEqual([record.data for record in answer.records], [b"\3\1\1\0\xff"])
        self.assertEqual(self.server.transports, {"udp": 4})

    @inlineCallbacks
    def test_nothing(self) -> Any:
        """No such name and no such record are answers, and differ; a name that cannot be is not asked for."""
        resolver = self.resolver()
        answer = yield resolver.ask("none.test", A)
        self.assertEqual((answer.records, answer.exists), ((), False))
        answer = yield resolver.ask("a.test", TLSA)
        self.assertEqual((answer.records, answer.exists), ((), True))
        asked = self.server.questions.total()
        for name in ("", "a..test", "x" * 64 + ".test", "a." * 127 + "test", "bücher.test"):
            answer = yield resolver.ask(name, A)
            self.assertFalse(answer.exists)
        self.assertEqual(self.server.questions.total(), asked)

    @inlineCallbacks
    def test_aliases(self) -> Any:
        """A chain of aliases is followed; one that goes in a circle leads to nothing (S07)."""
        resolver = self.resolver()
        answer = yield resolver.ask("alias.test", A)
        self.assertEqual(len(answer.records), 2)
        yield self.assertFailure(Finder(resolver).targets("cycle.test"), NoService)

    @inlineCallbacks
    def test_secure(self) -> Any:
        """DNSSEC counts if a configured server says so, and never from the files of the system."""
        answer = yield self.resolver().ask("_xmpp-server._tcp.a.test", SRV)
        self.assertTrue(answer.secure)
        servers = ConfiguredServers([self.address])
        servers.trusted = False
        resolver = Resolver(reactor, servers, QUICK)
        answer = yield resolver.ask("_xmpp-server._tcp.a.test", SRV)
        self.assertEqual((answer.secure, len(answer.records)), (False, 1))
        self.assertFalse(SystemServers.trusted)

    @inlineCallbacks
    def test_truncated(self) -> Any:
        """What does not fit is asked for over TCP: 64 SRV records, of which sixteen targets are made (S07)."""
        targets = yield Finder(self.resolver()).targets("many.test")
        self.assertEqual([target.host for target in targets], [f"host{n}.many.test" for n in range(16)])
        self.assertEqual(self.server.transports["tcp"], 1)
        answer = yield self.resolver().ask(self.bad("truncated"), A)
        self.assertEqual(len(answer.records), 1)

    @inlineCallbacks
    def test_lies(self) -> Any:
        """Replies that are none, or lie, end in a failure in time; the log stays clean (S08)."""
        resolver = self.resolver()
        names = [self.bad(mode) for mode in BAD]
        results = yield DeferredList([resolver.ask(name, A) for name in names], consumeErrors=True)
        for mode, (good, failure) in zip(BAD, results, strict=True):
            self.assertFalse(good, mode)
            failure.trap(LookupFailed)
        self.assertIn("too long", str(results[-1][1].value))
        self.assertEqual(self.flushLoggedErrors(), [])

    @inlineCallbacks
    def test_liesBesideTruth(self) -> Any:
        """A forged datagram does not keep the true answer from being taken."""
        resolver = self.resolver(limits=ResolverLimits())
        answer = yield resolver.ask(self.bad("liar"), A)
        self.assertEqual((answer.exists, len(answer.records)), (True, 1))
        name = self.bad("slow")
        self.server.zone[name] = {"mode": "slow", "delay": 0.2, "A": ["192.0.2.6"]}
        waiting = resolver.ask(name, A)
        forger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(forger.close)
        # The reader's socket is connected: what comes from another port never gets to it.
        [reader] = [each for each in self.reactor.getReaders() if hasattr(each, "_exchange")]
        exchange, [own] = reader._exchange, [reader._socket]
        forged = exchange.question.id.to_bytes(2, "big") + b"\x81\x83\0\1\0\0\0\0\0\0" + exchange.question.encode()[12:]
        forger.sendto(forged, own.getsockname())
        answer = yield waiting
        self.assertEqual((answer.exists, len(answer.records)), (True, 1))

    @inlineCallbacks
    def test_errors(self) -> Any:
        """SERVFAIL and REFUSED fail at once, saying who; the sender's answer is "timeout", not "not found"."""
        resolver = self.resolver(limits=ResolverLimits())
        for mode, code in (("servfail", "SERVFAIL"), ("refused", "REFUSED")):
            error = yield self.assertFailure(resolver.ask(self.bad(mode), A), LookupFailed)
            self.assertIn(code, str(error))
            self.assertIn(f"127.0.0.1 port {self.server.port}", str(error))
            yield self.assertFailure(Finder(resolver).targets(f"{mode}.test"), NoAnswer)
        # Once each, and SRV twice and AAAA once for the finder; A was kept.
        self.assertEqual(self.server.asked("servfail.test", "A"), 1)
        yield self.assertFailure(Finder(resolver).targets("port.test"), NoService)
        yield self.assertFailure(Finder(resolver).targets("none.test"), NoService)

    @inlineCallbacks
    def test_nextServer(self) -> Any:
        """A dead server and a silent one do not matter if the next one answers; nobody is an error that says so."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
            unused.bind(("127.0.0.1", 0))
            dead = f"127.0.0.1:{unused.getsockname()[1]}"
        answer = yield self.resolver(dead, self.address, limits=ResolverLimits()).ask("a.test", A)
        self.assertTrue(answer.records)
        error = yield self.assertFailure(self.resolver(dead).ask("a.test", A), LookupFailed)
        self.assertIn("refused", str(error))

        silent = DNSServer(reactor, {"test": {"mode": "silent"}})
        self.addCleanup(silent.stop)
        answer = yield self.resolver(f"127.0.0.1:{silent.start()}", self.address).ask("a.test", A)
        self.assertTrue(answer.records)
        self.assertEqual(silent.asked("a.test", "A"), 1)

    @inlineCallbacks
    def test_version6(self) -> Any:
        """A name server may have an IPv6 address."""
        server = DNSServer(reactor, ZONE)
        self.addCleanup(server.stop)
        try:
            port = server.start(host="::1")
        except OSError:
            # A machine without IPv6: at least it fails in plain words.
            yield self.assertFailure(self.resolver("[::1]:53").ask("a.test", A), LookupFailed)
            return
        targets = yield Finder(self.resolver(f"[::1]:{port}")).targets("many.test")
        self.assertEqual((len(targets), server.transports["tcp"]), (16, 1))

    @inlineCallbacks
    def test_shared(self) -> Any:
        """Many who ask the same at the same time share one question; one of them may give up."""
        finder = Finder(self.resolver())
        waiting = [finder.targets("a.test") for _ in range(50)]
        quitter = waiting.pop(7)
        quitter.cancel()
        self.failureResultOf(quitter, CancelledError)
        results = yield DeferredList(waiting)
        self.assertEqual({str(found[0]) for good, found in results}, {"xmpp.a.test port 5269 (STARTTLS)"})
        self.assertEqual(self.server.asked("_xmpp-server._tcp.a.test", "SRV"), 1)
        self.assertEqual(self.server.asked("_xmpps-server._tcp.a.test", "SRV"), 1)

    @inlineCallbacks
    def test_inFlight(self) -> Any:
        """Only so many questions are on their way; the rest wait, and beyond that fail at once."""
        limits = ResolverLimits(total=5.0, rounds=(5.0,), inFlight=2, waiting=3)
        resolver = self.resolver(limits=limits)
        self.server.zone["*.w.test"] = {"A": ["192.0.2.1"]}
        waiting = [resolver.ask(f"n{number}.w.test", A) for number in range(6)]
        self.assertEqual(sum(hasattr(reader, "_exchange") for reader in self.reactor.getReaders()), 2)
        yield self.assertFailure(waiting.pop(), LookupFailed)
        results = yield DeferredList(waiting)
        self.assertTrue(all(good for good, _ in results))
        self.assertEqual(self.server.questions.total(), 5)

    @inlineCallbacks
    def test_noWay(self) -> Any:
        """A thousand names that fail while they start end all, without a stack as deep as they are many."""
        class Nowhere(ConfiguredServers):
            def servers(self) -> Any:
                # Refused by the system itself, at once.
                return [NameServer("255.255.255.255")]

        resolver = Resolver(reactor, Nowhere([]), ResolverLimits(inFlight=1, rounds=(1.0,)))
        resolver._running = 1
        waiting = [resolver.ask(f"n{number}.test", A) for number in range(1000)]
        resolver._running = 0
        waiting.append(resolver.ask("last.test", A))
        results = yield DeferredList(waiting, consumeErrors=True)
        self.assertEqual({str(failure.type) for _, failure in results}, {str(LookupFailed)})

    @inlineCallbacks
    def test_stop(self) -> Any:
        """Who waits is told, and nothing is left that runs or is open."""
        resolver = self.resolver(limits=ResolverLimits(inFlight=2))
        waiting = [resolver.ask(self.bad("silent"), kind) for kind in (A, AAAA, SRV)]
        resolver.stop()
        for each in waiting:
            yield self.assertFailure(each, LookupFailed)

    def test_addresses(self) -> None:
        """How a name server is written, and that what is wrong is said."""
        servers = ConfiguredServers(["127.0.0.1:5353", "[::1]:53", "2001:db8::1", "192.0.2.1", "[::1]"]).servers()
        self.assertEqual(
            [(each.host, each.port) for each in servers],
            [("127.0.0.1", 5353), ("::1", 53), ("2001:db8::1", 53), ("192.0.2.1", 53), ("::1", 53)],
        )
        for text in ("dns.test", "127.0.0.1:0", "127.0.0.1:x", "[::1", "[::1]53", "", "127.0.0.1:65536", "1.2.3.4:²"):
            with self.assertRaises(ValueError, msg=text) as caught:
                makeResolver(reactor, [text])
            self.assertIn(repr(text), str(caught.exception))


class CacheTests(TestCase):
    """What is kept, and for how long; by a clock that only looks on."""

    def setUp(self) -> None:
        """A server, and a resolver whose time can be moved."""
        self.offset = 0.0
        self.server = DNSServer(reactor, ZONE)
        self.addCleanup(self.server.stop)
        self.address = f"127.0.0.1:{self.server.start()}"

    def resolver(self, **limits: Any) -> Resolver:
        """A resolver with moved time."""
        case, real = self, cast(Any, reactor)

        class Moved:
            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            def seconds(self) -> float:
                return float(real.seconds()) + case.offset

        return Resolver(Moved(), ConfiguredServers([self.address]), ResolverLimits(**limits))

    @inlineCallbacks
    def test_lifetimes(self) -> Any:
        """TTL 0 counts as five seconds, two hours as one, a denial as a minute at most."""
        resolver = self.resolver()
        self.server.zone["none.test"] = {"ttl": 7200}
        for name, kind, label, kept, gone in (
            ("brief.test", A, "A", 4, 6),
            ("a.test", A, "A", 3590, 3610),
            ("none.test", A, "A", 50, 70),
        ):
            self.offset = 0.0
            resolver.forget()
            self.server.questions.clear()
            for self.offset in (0, kept, gone):
                yield resolver.ask(name, kind)
                self.assertEqual(self.server.asked(name, label) > 1, self.offset == gone, (name, self.offset))

    @inlineCallbacks
    def test_failures(self) -> Any:
        """A failure is kept for a few seconds, so that a dead name server is not asked for each stanza."""
        resolver = self.resolver()
        self.server.zone["bad.test"] = {"mode": "servfail"}
        for self.offset, asked in ((0, 1), (4, 1), (6, 2)):
            yield self.assertFailure(resolver.ask("bad.test", A), LookupFailed)
            self.assertEqual(self.server.asked("bad.test", "A"), asked)

    @inlineCallbacks
    def test_bounded(self) -> Any:
        """The number of answers is bounded, and so are their records; what was used last stays (D11)."""
        self.server.zone["*.w.test"] = {"A": ["192.0.2.1", "192.0.2.2"]}
        for limits in ({"entries": 3}, {"records": 6}):
            resolver = self.resolver(**limits)
            for name in ("n0", "n1", "n2", "n0", "n3"):
                yield resolver.ask(f"{name}.w.test", A)
            self.assertEqual([key[0] for key in resolver._cache._entries], ["n2.w.test", "n0.w.test", "n3.w.test"])
            self.assertEqual(resolver._cache._records, 6)


class SystemTests(TestCase):
    """The files of the system."""

    @inlineCallbacks
    def test_files(self) -> Any:
        """Hosts win over the DNS; changed files count at once; junk in them does not matter."""
        path = Path(self.mktemp())
        path.mkdir(parents=True)
        resolv, hosts = path / "resolv.conf", path / "hosts"
        servers = SystemServers(resolv, hosts)
        self.assertEqual(list(servers.servers()), [NameServer("127.0.0.1")])
        resolv.write_text("# c\nnameserver 192.0.2.1\nnameserver junk\nnameserver\nsearch x\nnameserver ::1\n")
        self.assertEqual(list(servers.servers()), [NameServer("192.0.2.1"), NameServer("::1")])
        hosts.write_text("192.0.2.9 A.test b.test # c.test\n2001:db8::9 a.test\njunk d.test\n\n")
        resolver = Resolver(reactor, servers)
        answer = yield resolver.ask("a.test", A)
        self.assertEqual([record.dottedQuad() for record in answer.records], ["192.0.2.9"])
        answer = yield resolver.ask("b.test", AAAA)
        self.assertEqual(answer.records, ())
        hosts.write_text("192.0.2.10 a.test\n192.0.2.11 a.test\n")
        answer = yield resolver.ask("a.test", A)
        self.assertEqual(len(answer.records), 2)

    @inlineCallbacks
    def test_localhost(self) -> Any:
        """What localhost is needs no question (RFC 6761 6.3)."""
        resolver = Resolver(reactor, ConfiguredServers([]))
        answer = yield resolver.ask("x.localhost", A)
        self.assertEqual([record.dottedQuad() for record in answer.records], ["127.0.0.1"])
        answer = yield resolver.ask("_xmpp-server._tcp.localhost", SRV)
        self.assertEqual(answer.records, ())
        yield self.assertFailure(resolver.ask("notlocalhost", A), LookupFailed)
