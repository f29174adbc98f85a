"""Where a server stands: its folder and ports, what it is called, how it meets other servers."""

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.certificates import Certificate
from benchmarks.load.dialogue import Service
from benchmarks.load.link import LoadError

DOMAIN = "localhost"


@dataclass(frozen=True)
class Federation:
    """How a server meets another: where it listens for others, who tells it addresses, whom it trusts.

    `resolver` is the port of a name server on loopback; `neighbours` says the same without one: domain → port.
    """

    port: int
    resolver: int
    neighbours: tuple[tuple[str, int], ...]
    authority: Path


@dataclass(frozen=True)
class Place:
    """What a server's configuration is made of; all ports are of 127.0.0.1."""

    folder: Path
    domain: str
    port: int
    tlsPort: int
    service: Service
    certificate: Certificate
    federation: Federation | None = None


def newPlace(
    folder: Path, certificate: Certificate, domain: str = DOMAIN, federation: Federation | None = None
) -> Place:
    """A place on free ports."""
    service = Service(f"parts.{domain}", freePort(), secrets.token_hex(24))
    return Place(folder, domain, freePort(), freePort(), service, certificate, federation)


def freePort() -> int:
    """A port on loopback that nobody listens on now, and that the kernel gives to no outgoing connection.

    A server that is stopped and started again must find its port free beside thousands of client connections.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        port = 10_000 + secrets.randbelow(max(1, lowest - 10_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise LoadError(f"no free port between 10000 and {lowest}")
