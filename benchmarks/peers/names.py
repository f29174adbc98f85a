"""A name server for two domains: ``python -m benchmarks.peers.names PORT DOMAIN=PORT…``.

Each domain's server for other servers is at localhost, at the port behind the equals sign (RFC 6120 section 3.2.1).
ejabberd asks the system, not the name server, for addresses; so the target has to be a name that the system knows.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.internet import defer, reactor
from twisted.internet.interfaces import IReactorTCP, IReactorUDP
from twisted.names import common, dns, error, server

from benchmarks.peers.process import Process

_SERVICE = "_xmpp-server._tcp."
_HOST = "localhost"
_READY = "names are served"


class Zone(common.ResolverBase):
    """Answers SRV of the domains it knows, and where localhost is; nothing else exists."""

    def __init__(self, ports: dict[str, int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ports = ports

    def _lookup(
        self, name: bytes, cls: int, type: int, timeout: Sequence[int] | None
    ) -> "defer.Deferred[tuple[list[dns.RRHeader], list[dns.RRHeader], list[dns.RRHeader]]]":
        asked = name.decode("ascii", "replace").lower().rstrip(".")
        domain = asked.removeprefix(_SERVICE)
        if domain not in self._ports and asked != _HOST:
            return defer.fail(error.AuthoritativeDomainError(name))
        record: dns.IEncodableRecord | None = None
        if domain != asked and type == dns.SRV:
            record = dns.Record_SRV(0, 0, self._ports[domain], _HOST, 60)
        elif asked == _HOST and type == dns.A:
            record = dns.Record_A("127.0.0.1", 60)
        answers = [dns.RRHeader(name, type, dns.IN, 60, record, auth=True)] if record is not None else []
        return defer.succeed((answers, [], []))


class _Factory(server.DNSServerFactory):
    """Twisted's own does not repeat the question's RD flag, and Erlang takes no answer without it."""

    def sendReply(self, protocol: object, message: dns.Message, address: object) -> None:
        """See `DNSServerFactory.sendReply`."""
        message.recDes = 1
        super().sendReply(protocol, message, address)  # type: ignore[no-untyped-call]


class Names:
    """The name server as a process of its own."""

    def __init__(self, folder: Path, port: int, ports: dict[str, int]) -> None:
        self._log = folder / "names.log"
        self._arguments = [str(port), *(f"{domain}={number}" for domain, number in ports.items())]
        self._process = Process(self._log)

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [sys.executable, "-m", "benchmarks.peers.names", *self._arguments]
        # What an earlier start has said does not count.
        self._log.unlink(missing_ok=True)
        root = str(Path(__file__).resolve().parents[2])
        self._process.start(command, lambda: _READY in self._log.read_text(), {"PYTHONPATH": root})

    def stop(self) -> None:
        """Stop; safe to call twice."""
        self._process.stop()


def main(arguments: list[str]) -> None:
    """Serve until terminated."""
    port, *domains = arguments
    assert IReactorUDP.providedBy(reactor) and IReactorTCP.providedBy(reactor)
    zone = Zone({name: int(number) for name, _, number in (text.partition("=") for text in domains)})
    factory = _Factory(clients=[zone])  # type: ignore[no-untyped-call]
    reactor.listenUDP(int(port), dns.DNSDatagramProtocol(factory), "127.0.0.1", 8192)
    reactor.listenTCP(int(port), factory, interface="127.0.0.1")
    print(_READY, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
