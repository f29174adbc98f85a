"""Which name servers are asked: the configured ones, or those of the system; and what /etc/hosts says."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
from twisted.names import dns

from xmppservice.edge.s2s.questions import AAAA, A, Answer

PORT: Final = 53
_MAX_SERVERS: Final = 3
_MAX_FILE: Final = 1024 * 1024


@attrs.frozen
class NameServer:
    """An address and a port to ask."""

    host: str
    port: int = PORT

    def __str__(self) -> str:
        return self.host if self.port == PORT else f"{self.host} port {self.port}"


def parseNameServer(text: str) -> NameServer:
    """Read "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:53".

    Raises ValueError, which says what is wrong.
    """
    host, port = text.strip(), str(PORT)
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no address of a name server: write it like [2001:db8::1]:53")
        port = rest[1:] or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is no address of a name server: write an IP address, like 127.0.0.1:53") from None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} has no usable port: it is a number from 1 to 65535")
    return NameServer(host, int(port))


class _Watched:
    """What a file says, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: tuple[int, int, int] | None = None
        self._text = ""

    def text(self) -> tuple[str, bool]:
        """The content, and whether it is new; a file that is missing, or too large for what it is, is empty."""
        try:
            found = os.stat(self._path)
            state = (found.st_mtime_ns, found.st_ino, found.st_size)
            if state == self._state:
                return self._text, False
            text = self._path.read_text("utf-8", "replace") if found.st_size <= _MAX_FILE else ""
        except OSError:
            state, text = (0, 0, 0), ""
        fresh = state != self._state
        self._state, self._text = state, text
        return text, fresh


class ConfiguredServers:
    """The name servers that the operator named. They are trusted in what they say about DNSSEC."""

    trusted = True

    def __init__(self, addresses: Iterable[str]) -> None:
        self._servers = tuple(map(parseNameServer, addresses))

    def servers(self) -> Sequence[NameServer]:
        """Whom to ask, in this order."""
        return self._servers

    def known(self, name: str, kind: int) -> Answer | None:
        """What is known without asking: only what localhost is (RFC 6761 6.3)."""
        return _localhost(name, kind)


class SystemServers:
    """The name servers and hosts of this machine, as its files say now. Nothing they say about DNSSEC is trusted."""

    trusted = False

    def __init__(self, resolv: Path = Path("/etc/resolv.conf"), hosts: Path = Path("/etc/hosts")) -> None:
        self._resolv, self._hosts = _Watched(resolv), _Watched(hosts)
        self._servers: tuple[NameServer, ...] = ()
        self._addresses: Mapping[str, list[str]] = {}

    def servers(self) -> Sequence[NameServer]:
        """Those of resolv.conf(5), or one on this machine."""
        text, fresh = self._resolv.text()
        if fresh:
            self._servers = tuple(_readResolv(text))[:_MAX_SERVERS]
        return self._servers or (NameServer("127.0.0.1"),)

    def known(self, name: str, kind: int) -> Answer | None:
        """The addresses in hosts(5), and what localhost is."""
        text, fresh = self._hosts.text()
        if fresh:
            self._addresses = _readHosts(text)
        addresses = self._addresses.get(name.lower())
        if addresses is None or kind not in (A, AAAA):
            return _localhost(name, kind)
        return _addressAnswer(addresses, kind)


def _readResolv(text: str) -> Iterable[NameServer]:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                ipaddress.ip_address(words[1])
            except ValueError:
                continue
            yield NameServer(words[1])


def _readHosts(text: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            continue
        for name in names:
            found.setdefault(name.lower().removesuffix("."), []).append(address)
    return found


def _localhost(name: str, kind: int) -> Answer | None:
    if f".{name.lower()}".endswith(".localhost"):
        return _addressAnswer(("127.0.0.1", "::1") if kind in (A, AAAA) else (), kind)
    return None


_RECORDS: Mapping[int, tuple[int, Callable[[str], object]]] = {A: (4, dns.Record_A), AAAA: (6, dns.Record_AAAA)}


def _addressAnswer(addresses: Iterable[str], kind: int) -> Answer:
    version, record = _RECORDS.get(kind, (0, str))
    chosen = [each.partition("%")[0] for each in addresses if ipaddress.ip_address(each).version == version]
    return Answer(tuple(map(record, chosen)), ttl=60)
