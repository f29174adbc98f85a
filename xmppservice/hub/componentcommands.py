"""`xmppctl components`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from xmppservice.hub.commands import Call, Result, command

if TYPE_CHECKING:
    from xmppservice.hub.component import ComponentPort


class ComponentCommands:
    """What the running server knows of its components."""

    def __init__(self, ports: Iterable[ComponentPort]) -> None:
        self._ports = ports

    @command("components", "List the external components of the running server.", changes=False)
    async def listComponents(self, call: Call) -> Result:
        """All that are expected, connected or not."""
        rows = []
        for port in self._ports:
            link = port.link
            stream = None if link is None else link.stream
            if link is None or stream is None:
                rows.append((port.name, "absent", "", ""))
            else:
                since = datetime.fromtimestamp(link.since, UTC).strftime("%Y-%m-%d %H:%M:%S")
                rows.append((port.name, "connected", stream.peer, since))
        return Result(columns=("component", "state", "from", "since"), rows=rows)
