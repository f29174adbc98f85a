"""A server in memory that can make, change and delete accounts as the real one does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import execute

from xmppservice.server.administration import RunningAdministration
from xmppservice.testing import MemoryServer


class Known:
    """As much of the settings as the administration looks at."""

    class auth:
        """Few iterations, for speed."""

        iterations = 16

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = dict.fromkeys(hosts)


def administered(server: MemoryServer) -> MemoryServer:
    """Give the hosts the server's own administration; threads are left out."""
    settings: Any = Known(tuple(server.hosts))
    administration = RunningAdministration(settings, server.database, execute)
    administration.hosts = server.hosts.get
    administration.allHosts = lambda: list(server.hosts.values())
    administration.forget = lambda jid: None
    for host in server.hosts.values():
        host.administration = administration  # type: ignore[assignment]
    return server
