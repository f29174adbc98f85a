"""What every server under attack has: figures of its process, news of its log, and clients at each stage."""

from __future__ import annotations

import os
from pathlib import Path

from tests.attack.raw import DOMAIN, RawClient
from tests.interop.processes import Child


class Attacked:
    """A running server; where it comes from is its subclasses' affair."""

    name = ""
    fault = ""
    port: int
    directPort: int
    ca: Path
    child: Child
    _read = 0

    @property
    def own(self) -> bool:
        """Whether it is ours, with our modules, log and configuration."""
        return self.name == "own"

    @property
    def logs(self) -> list[Path]:
        """The files it logs to."""
        return [self.child.log]

    def news(self) -> str:
        """What was logged since this was asked last."""
        data = b"".join(log.read_bytes() for log in self.logs if log.exists())
        fresh, self._read = data[self._read :], len(data)
        return fresh.decode("utf-8", "replace")

    @property
    def memory(self) -> int:
        """Resident memory in bytes."""
        pages = Path(f"/proc/{self.child.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """How many files and sockets are open."""
        return len(os.listdir(f"/proc/{self.child.process.pid}/fd"))

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        fields = Path(f"/proc/{self.child.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # -- clients -----------------------------------------------------------------------------

    def plain(self, to: str = DOMAIN, address: str | None = None) -> RawClient:
        """A stream before TLS, with its features."""
        client = RawClient(self.port, address)
        client.open(to)
        return client

    def secured(self, to: str = DOMAIN, address: str | None = None) -> RawClient:
        """A stream after STARTTLS, before authentication."""
        client = self.plain(to, address)
        client.startTLS(self.ca, to)
        client.open(to)
        return client

    def direct(self, to: str = DOMAIN, address: str | None = None) -> RawClient:
        """A stream over direct TLS, before authentication."""
        client = RawClient(self.directPort, address)
        client.wrap(self.ca, to)
        client.open(to)
        return client

    def authenticated(self, user: str, address: str | None = None) -> RawClient:
        """A stream that could bind now."""
        client = self.direct(address=address)
        client.authenticate(user)
        return client

    def login(self, user: str, resource: str = "", address: str | None = None) -> RawClient:
        """A bound stream over direct TLS."""
        client = self.authenticated(user, address)
        client.bind(resource)
        return client

    # -- the process -------------------------------------------------------------------------

    def report(self) -> str:
        """Everything it has logged."""
        return "".join(log.read_text("utf-8", "replace") for log in self.logs if log.exists())

    def stop(self) -> int:
        """SIGTERM to the one process."""
        return self.child.stop()
