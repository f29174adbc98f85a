"""A small name server on loopback: it serves a zone that is a dict, counts questions, and misbehaves as told.

A zone has names as keys; a value has records by type, and may say how the server treats the name::

    {
      "example.test": {"A": ["127.0.0.1"], "AAAA": ["::1"], "ttl": 60},
      "_xmpp-server._tcp.example.test": {"SRV": [[10, 5, 5269, "xmpp.example.test"]], "secure": true},
      "_5269._tcp.xmpp.example.test": {"TLSA": [[3, 1, 1, "00ff..."]]},
      "alias.test": {"CNAME": ["example.test"]},
      "*.many.test": {"A": ["127.0.0.1"]},
      "slow.test": {"mode": "slow", "delay": 2.0}
    }

`mode` holds for the name and for all names below it; see `MODES`. `secure` sets the AD bit for who asks for it.
``python -m tests.dns zone.json --port 5353`` serves a file, and says on its output where it listens.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver

Zone = Mapping[str, Mapping[str, Any]]
Send = Callable[[bytes], object]

MODES = {
    "slow": "answers after `delay` seconds (default 30)",
    "silent": "never answers",
    "servfail": "answers SERVFAIL",
    "refused": "answers REFUSED",
    "nxdomain": "says that there is no such name",
    "truncated": "over UDP answers nothing but TC; over TCP the truth",
    "stalled": "over UDP answers nothing but TC; over TCP never answers",
    "garbage": "the right id, then bytes that mean nothing",
    "loop": "the right id, then names whose compression pointers go round",
    "deep": "the right id, then tens of thousands of compression pointers",
    "cut": "the right answer without its last octets",
    "wrong-id": "the right answer under another id",
    "wrong-question": "an answer to another question, under the right id",
    "liar": "garbage, another id and another question first, then the right answer",
    "elsewhere": "the right answer, from another port",
    "huge": "TC over UDP; 64 KB of address records over TCP",
}
CODES = {"servfail": dns.ESERVER, "refused": dns.EREFUSED, "nxdomain": dns.ENAME}
TLSA, OPT = 52, 41
TYPES = {"TLSA": TLSA, **{name: number for number, name in dns.QUERY_TYPES.items()}}
NAMES = {number: name for name, number in TYPES.items()}
CHAIN_LIMIT = 20


class DNSServer:
    """The zone on UDP and TCP, on one port; `zone` may be changed while it serves.

    `questions` counts (name, type), `transports` counts "udp" and "tcp".
    """

    def __init__(self, reactor: Any, zone: Zone) -> None:
        self.zone: dict[str, Mapping[str, Any]] = dict(zone)
        self.questions: Counter[tuple[str, str]] = Counter()
        self.transports: Counter[str] = Counter()
        self.port = 0
        self.reactor = reactor
        self._ports: list[Any] = []
        self._elsewhere: _Datagrams
        self._pending: set[Any] = set()
        self.connections: set[Any] = set()

    def start(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Listen; without a port any that is free for both transports."""
        factory = Factory.forProtocol(_Stream)
        factory.server = self  # type: ignore[attr-defined]
        for attempt in range(50):
            tcp = self.reactor.listenTCP(port, factory, interface=host)
            self.port = tcp.getHost().port
            try:
                udp = self.reactor.listenUDP(self.port, _Datagrams(self), interface=host, maxPacketSize=4096)
            except CannotListenError:
                tcp.stopListening()
                if port or attempt == 49:
                    raise
                continue
            break
        self._elsewhere = _Datagrams(self)
        self._ports = [tcp, udp, self.reactor.listenUDP(0, self._elsewhere, interface=host)]
        return self.port

    def stop(self) -> Deferred[Any]:
        """Listen no more; answers that are still due are dropped."""
        for call in self._pending:
            call.cancel()
        self._pending.clear()
        for connection in list(self.connections):
            connection.transport.abortConnection()
        return gatherResults([maybeDeferred(port.stopListening) for port in self._ports])

    def asked(self, name: str, kind: str) -> int:
        """How often something was asked."""
        return self.questions[name, kind]

    def received(self, data: bytes, transport: str, send: Send, stray: Send) -> None:
        """A question came; `send` answers, `stray` does so from another address."""
        message = dns.Message()
        try:
            message.fromStr(data)
        except (EOFError, ValueError):
            return
        if message.answer or len(message.queries) != 1:
            return
        query = message.queries[0]
        name = query.name.name.decode("ascii", "replace").lower()
        self.questions[name, NAMES.get(query.type, str(query.type))] += 1
        self.transports[transport] += 1
        mode, delay = self._modeOf(name)
        assert mode in MODES or not mode, mode
        udp = transport == "udp"
        if mode == "silent" or (mode == "stalled" and not udp):
            return
        if mode == "slow":
            self._later(delay, lambda: send(self._answer(message, name, udp).toStr()))
        elif mode == "liar":
            for lie in ("garbage", "loop", "wrong-id", "wrong-question", ""):
                send(self._misbehave(lie, message, name, udp))
        elif mode == "elsewhere":
            stray(self._answer(message, name, udp).toStr())
        else:
            send(self._misbehave(mode, message, name, udp))

    def _later(self, delay: float, act: Callable[[], object]) -> None:
        def run() -> None:
            self._pending.discard(call)
            act()

        call = self.reactor.callLater(delay, run)
        self._pending.add(call)

    def _modeOf(self, name: str) -> tuple[str, float]:
        labels = name.split(".")
        for start in range(len(labels)):
            entry = self.zone.get(".".join(labels[start:]), {})
            if "mode" in entry:
                return str(entry["mode"]), float(entry.get("delay", 30.0))
        return "", 0.0

    def _misbehave(self, mode: str, asked: dns.Message, name: str, udp: bool) -> bytes:
        answer = self._answer(asked, name, udp)
        if mode in CODES:
            answer.rCode, answer.answers = CODES[mode], []
        elif mode in ("truncated", "stalled", "huge") and udp:
            answer.trunc, answer.answers = 1, []
        elif mode == "huge":
            record = dns.Record_A("127.0.0.1", ttl=60)
            answer.answers = [dns.RRHeader(name, dns.A, dns.IN, 60, record)] * 3600
        elif mode == "wrong-question":
            answer.queries = [dns.Query(b"other." + asked.queries[0].name.name, asked.queries[0].type)]
        elif mode == "wrong-id":
            answer.id ^= 1
        data = answer.toStr()
        if mode == "cut":
            return data[:-2]
        return _mangle(mode, data)

    def _answer(self, asked: dns.Message, name: str, udp: bool) -> dns.Message:
        size, edns, signed = 512, None, bool(asked.authenticData)
        for header in asked.additional:
            if header.type == OPT:
                size, edns = max(512, min(header.cls, 4096)), header
                signed = signed or bool(header.ttl & 0x8000)
        answer = dns.Message(id=asked.id, answer=1, recDes=asked.recDes, recAv=1, auth=True, maxSize=0)
        answer.queries = asked.queries
        secure = self._fill(answer, name, asked.queries[0].type)
        answer.authenticData = int(signed and secure)
        if edns is not None:
            payload: Any = dns.UnknownRecord(b"")
            answer.additional = [dns.RRHeader(b"", OPT, 4096, edns.ttl & 0x8000, payload)]
        if udp and len(answer.toStr()) > size:
            answer.trunc, answer.answers, answer.authority = 1, [], []
        return answer

    def _fill(self, answer: dns.Message, name: str, kind: int) -> bool:
        """Put in what the zone has, along aliases; whether all of it is marked as secure."""
        secure, spelled, ttl = True, answer.queries[0].name.name, 60
        for _ in range(CHAIN_LIMIT):
            entry = self._entry(name)
            if entry is None:
                answer.rCode = dns.ENAME
                break
            secure, ttl = secure and bool(entry.get("secure")), int(entry.get("ttl", 60))
            records = list(_records(entry, spelled, kind))
            alias = [] if records or kind == dns.CNAME else list(_records(entry, spelled, dns.CNAME))
            answer.answers += records + alias
            if not alias:
                break
            spelled = alias[0].payload.name.name
            name = spelled.decode("ascii").lower()
        if not answer.answers:
            soa = dns.Record_SOA(b"ns.test", b"admin.test", 1, 60, 60, 60, ttl, ttl=ttl)
            answer.authority = [dns.RRHeader(name.rpartition(".")[2], dns.SOA, dns.IN, ttl, soa)]
        return secure

    def _entry(self, name: str) -> Mapping[str, Any] | None:
        if name in self.zone:
            return self.zone[name]
        labels = name.split(".")
        for start in range(1, len(labels)):
            wild = self.zone.get("*." + ".".join(labels[start:]))
            if wild is not None:
                return wild
        # A name with names below it exists, but has no records (RFC 8020).
        return {} if any(each.endswith("." + name) for each in self.zone) else None


def _records(entry: Mapping[str, Any], name: bytes, kind: int) -> Iterator[Any]:
    ttl = int(entry.get("ttl", 60))
    for label, values in entry.items():
        number = TYPES.get(label)
        if number is None or kind not in (number, dns.ALL_RECORDS):
            continue
        for value in values:
            yield dns.RRHeader(name, number, dns.IN, ttl, _payload(label, value, ttl))


def _payload(kind: str, value: Any, ttl: int) -> Any:
    if kind == "SRV":
        return dns.Record_SRV(*value[:3], value[3].removesuffix("."), ttl=ttl)
    if kind == "TLSA":
        return dns.UnknownRecord(bytes(value[:3]) + bytes.fromhex(value[3]), ttl=ttl)
    if kind == "TXT":
        return dns.Record_TXT(value.encode(), ttl=ttl)
    if kind in ("A", "AAAA", "CNAME", "DNAME", "NS", "PTR"):
        return getattr(dns, f"Record_{kind}")(value, ttl=ttl)
    raise ValueError(f"the test server has no records of type {kind}")


def _mangle(mode: str, data: bytes) -> bytes:
    if mode == "garbage":
        return data[:2] + bytes(byte ^ 0x5A for byte in range(200))
    if mode == "loop":
        # One question and one answer; the name of the answer is two pointers that point at each other.
        return data[:2] + struct.pack("!5H", 0x8180, 0, 1, 0, 0) + b"\xc0\x0e\xc0\x0c" + b"\0\1\0\1\0\0\0\0\0\0"
    if mode == "deep":
        # Each of many records has a name that is a long chain of pointers (CVE-2026-42304).
        chain = b"".join(struct.pack("!H", 0xC000 | (12 + 2 * max(i - 1, 0))) for i in range(1, 120))
        record = struct.pack("!H", 0xC000 | (12 + 2 * 118)) + b"\0\1\0\1\0\0\0\0\0\0"
        return data[:2] + struct.pack("!5H", 0x8180, 0, 200, 0, 0) + b"\0\0" + chain + record * 200
    return data


class _Datagrams(DatagramProtocol):
    def __init__(self, server: DNSServer) -> None:
        self.server = server

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.server.received(
            datagram, "udp", lambda data: self.send(data, addr), lambda data: self.server._elsewhere.send(data, addr)
        )

    def send(self, data: bytes, address: Any) -> None:
        if self.transport is not None:
            self.transport.write(data, address)  # type: ignore[call-arg]


class _Stream(Int16StringReceiver):
    factory: Any

    def connectionMade(self) -> None:
        self.factory.server.connections.add(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.server.connections.discard(self)

    def stringReceived(self, string: bytes) -> None:
        self.factory.server.received(string, "tcp", self.sendString, self.sendString)


@contextmanager
def serving(zone: Zone, port: int = 0) -> Iterator[int]:
    """The server in a process of its own, for tests that have no reactor; gives its port on 127.0.0.1."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "zone.json"
        path.write_text(json.dumps(zone), encoding="utf-8")
        command = [sys.executable, "-m", "tests.dns", str(path), "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(" ")[2])
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a file until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.dns", description="A name server for tests.")
    parser.add_argument("zone", type=Path, help="a file with the zone as JSON")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    options = parser.parse_args(arguments)
    from twisted.internet import reactor

    server = DNSServer(reactor, json.loads(options.zone.read_text(encoding="utf-8")))
    print("listening on", options.host, server.start(options.port, options.host), flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
