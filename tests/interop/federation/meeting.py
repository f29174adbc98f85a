"""Where servers meet: their domains in a name server, their certificates, and what each side of a test can do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.attack.raw import RawClient
from tests.dns import serving
from tests.ports import freePort
from tests.security.certificates import Authority

#: How many accounts each domain of a peer has, and how many of them are for the way with certificates.
ACCOUNTS, SHARE = 52, 26
#: Nobody has this domain; this one's server does not answer; this one has none (RFC 6120 3.2.1).
NOWHERE, DEAD, NONE = "nowhere.test", "dead.test", "none.test"


class Side(Protocol):
    """A server with one or two domains, and people at them."""

    #: The domain with a certificate that all trust, and the one whose certificate nobody trusts.
    certified: str
    uncertified: str
    #: A domain that DNS sends to this server, which does not know it.
    foreign: str

    def login(self, jid: str, available: bool = True) -> RawClient:
        """A bound session of an account."""

    def stop(self) -> None:
        """End in good order."""

    def kill(self) -> None:
        """End at once (SIGKILL)."""

    def start(self) -> None:
        """Start, again if need be, and wait until it listens."""

    def report(self) -> str:
        """What it has logged."""


class Ours(Side, Protocol):
    """Our server, which can be asked more."""

    def add(self, jid: str) -> None:
        """A new account."""

    def links(self) -> list[dict[str, str]]:
        """`xmppctl s2s`, a dict a row."""


class Meeting:
    """A folder with certificates, and a zone; `open` serves it.

    Targets of SRV records are "localhost", because ejabberd asks the C library, not the name server, for addresses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self.stranger = Authority("Trusted by all"), Authority("Trusted by nobody")
        self.ca = folder / "authority.pem"
        self.ca.write_bytes(self.authority.pem)
        self.zone: dict[str, dict[str, object]] = {
            "localhost": {"A": ["127.0.0.1"]},
            DEAD: {"A": ["127.0.0.1"]},
            f"_xmpp-server._tcp.{DEAD}": {"SRV": [[0, 0, freePort(), "localhost"]]},
            f"_xmpp-server._tcp.{NONE}": {"SRV": [[0, 0, 0, "."]]},
        }
        self.resolver = 0

    def place(self, domain: str, port: int) -> None:
        """Put a domain's server on a port of loopback."""
        self.zone[domain] = {"A": ["127.0.0.1"]}
        self.zone[f"_xmpp-server._tcp.{domain}"] = {"SRV": [[10, 5, port, "localhost"]]}

    def certify(self, domain: str, folder: Path, trusted: bool = True, both: bool = True) -> Path:
        """Files for a domain; unless `both`, the certificate is for servers that are called and not for callers."""
        authority = self.authority if trusted else self.stranger
        identity = authority.names(domain, common=domain, usage=None) if both else authority.server(domain)
        return identity.write(folder, domain)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Serve the names."""
        with serving(self.zone) as self.resolver:
            yield


def accounts() -> list[str]:
    """The local parts that every peer has; our server gets them one by one."""
    return [f"user{number}" for number in range(ACCOUNTS)]


def plainLogin(port: int, jid: str, available: bool = True) -> RawClient:
    """A session of an account with the usual password, without TLS."""
    local, _, domain = jid.partition("@")
    client = RawClient(port)
    client.open(domain)
    client.authenticate(local, domain)
    client.bind("r")
    if available:
        client.available()
    return client


class World:
    """Our server and another one, in one way of knowing each other; each test takes accounts that none had before."""

    def __init__(self, way: str, own: Ours, peer: Side) -> None:
        self.way, self.own, self.peer = way, own, peer
        trusted = way != "dialback"
        self.ownDomain = own.certified if trusted else own.uncertified
        self.peerDomain = peer.certified if trusted else peer.uncertified
        self._accounts = iter(accounts()[:SHARE] if way == "certificates" else accounts()[SHARE:])

    def pair(self) -> tuple[str, str]:
        """Accounts that no test has used: ours, and the peer's."""
        local = next(self._accounts)
        self.own.add(f"{local}@{self.ownDomain}")
        return f"{local}@{self.ownDomain}", f"{local}@{self.peerDomain}"

    def sides(self, direction: str) -> tuple[Side, str, Side, str]:
        """Who begins and their account, and the other: "out" is from us to the peer, "in" the other way."""
        ours, theirs = self.pair()
        if direction == "out":
            return self.own, ours, self.peer, theirs
        return self.peer, theirs, self.own, ours

    def streams(self) -> list[dict[str, str]]:
        """What our server tells of the streams that are up."""
        return [row for row in self.own.links() if row["state"] == "up"]

    def counted(self, direction: str) -> int:
        """How many stanzas were "sent" or "received" over the streams that are up."""
        return sum(int(row[direction]) for row in self.streams())

    def report(self) -> str:
        """Both logs."""
        return f"-- ours\n{self.own.report()[-4000:]}\n-- theirs\n{self.peer.report()[-4000:]}"
