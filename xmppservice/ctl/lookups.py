"""Questions to name servers without a reactor: one after the other, and bounded in time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from xmppservice.edge.s2s.nameservers import NameServer
from xmppservice.edge.s2s.questions import Answer, INames, LookupFailed, Question, Truncated, Useless, canBeAsked
from xmppservice.edge.s2s.resolving import Servers

PATIENCE: Final = 3.0
ALL_IN_ALL: Final = 30.0
"""Seconds for one name server to answer, and for all questions of one run together."""
_MOST: Final = 16 * 1024
_USELESS: Final = 16


@implementer(INames)
class BlockingNames:
    """Asks and waits; what it gives has fired already."""

    def __init__(self, servers: Servers, patience: float = PATIENCE, limit: float = ALL_IN_ALL) -> None:
        self._servers = servers
        self._patience = patience
        self._ends = time.monotonic() + limit
        self._silent: set[NameServer] = set()
        self._kept: dict[tuple[str, int], Answer | str] = {}

    def ask(self, name: str, kind: int) -> Deferred[Answer]:
        """See `INames`."""
        if (name, kind) not in self._kept:
            self._kept[name, kind] = self._find(name, kind)
        found = self._kept[name, kind]
        return fail(LookupFailed(found)) if isinstance(found, str) else succeed(found)

    def _find(self, name: str, kind: int) -> Answer | str:
        known = self._servers.known(name, kind) if canBeAsked(name) else Answer((), False)
        if known is not None:
            return known
        reason = "no name server answers"
        for server in self._servers.servers():
            if server in self._silent:
                continue
            try:
                return self._ask(server, Question(name, kind))
            except TimeoutError:
                # Once is enough: there is more to ask.
                self._silent.add(server)
                reason = f"the name server {server} did not answer in time"
            except OSError as error:
                reason = f"the name server {server} cannot be asked: {error.strerror or error}"
            except Useless as error:
                reason = f"the name server {server} answered {error}"
        return reason

    def _ask(self, server: NameServer, question: Question) -> Answer:
        try:
            return self._exchange(server, question, socket.SOCK_DGRAM, _datagram)
        except Truncated:
            return self._exchange(server, question, socket.SOCK_STREAM, _stream)

    def _exchange(
        self, server: NameServer, question: Question, kind: int, ask: Callable[[socket.socket, bytes], bytes]
    ) -> Answer:
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        left = min(self._patience, self._ends - time.monotonic())
        if left <= 0:
            raise TimeoutError
        ends = time.monotonic() + left
        with socket.socket(family, kind) as connection:
            connection.settimeout(left)
            connection.connect((server.host, server.port))
            data = ask(connection, question.encode())
            for _ in range(_USELESS):
                try:
                    return question.decode(data)
                except Useless as error:
                    if error.final or kind == socket.SOCK_STREAM:
                        raise
                connection.settimeout(max(0.001, ends - time.monotonic()))
                data = connection.recv(_MOST)
        raise Useless("nothing but replies to other questions")


def _datagram(connection: socket.socket, question: bytes) -> bytes:
    connection.send(question)
    return connection.recv(_MOST)


def _stream(connection: socket.socket, question: bytes) -> bytes:
    connection.sendall(len(question).to_bytes(2, "big") + question)
    with connection.makefile("rb") as file:
        length = int.from_bytes(file.read(2), "big")
        return file.read(min(length, _MOST))
