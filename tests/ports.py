"""Loopback ports for servers of tests, which no other test process and no outgoing connection takes meanwhile."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

#: Below the ports that Linux gives to outgoing connections (from 32768); each process that asks has a block of these.
FIRST, LAST, BLOCK = 10_000, 32_000, 400
#: Holds the name of this process's block, which ends with the process.
_claims: list[socket.socket] = []


def freePort() -> int:
    """A loopback port that nobody listens on; a server may bind it much later, and again after a restart."""
    for port in itertools.islice(_ports, BLOCK):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no free port")


def claim(first: int) -> bool:
    """Whether the block that begins with this port is now ours: nobody else can bind its name."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0xmppservice tests, ports from {first}")
    except OSError:
        name.close()
        return False
    _claims.append(name)
    return True


def _endless() -> Iterator[int]:
    """The ports of a block, round and round, so that one comes again only long after its last use."""
    blocks = range(FIRST, LAST, BLOCK)
    begin = os.getpid() % len(blocks)
    for first in (*blocks[begin:], *blocks[:begin]):
        if claim(first):
            yield from itertools.cycle(range(first, first + BLOCK))
    raise AssertionError("too many test runs at the same time")


_ports = _endless()
