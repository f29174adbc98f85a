"""Two servers of one kind, each with a domain of its own, that speak to each other."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.load.certificates import Authority
from benchmarks.load.federated import Site
from benchmarks.load.place import Federation, Place, freePort, newPlace
from benchmarks.peers.names import Names
from benchmarks.peers.process import Peer

NEAR, FAR = "alpha.example", "beta.example"


class Linked:
    """Two servers, and the name server that tells each where the other is."""

    def __init__(self, folder: Path, make: Callable[[Place], Peer]) -> None:
        folder.mkdir(parents=True)
        authority, resolver = Authority(folder), freePort()
        ports = {NEAR: freePort(), FAR: freePort()}
        self._names = Names(folder, resolver, ports)
        self.servers: list[Peer] = []
        for domain, port in ports.items():
            others = tuple((other, number) for other, number in ports.items() if other != domain)
            met = Federation(port, resolver, others, authority.file)
            self.servers.append(make(newPlace(folder / domain, authority.issue(domain), domain, met)))

    def start(self) -> None:
        """Start all three."""
        self._names.start()
        for server in self.servers:
            server.start()

    def stop(self) -> None:
        """Stop all; safe to call twice."""
        for server in self.servers:
            server.stop()
        self._names.stop()

    def sites(self, reach: Callable[[Peer], Site]) -> tuple[Site, Site]:
        """(the sending side, the receiving side)."""
        near, far = map(reach, self.servers)
        return near, far
