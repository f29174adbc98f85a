"""`xmppctl s2s`."""

from __future__ import annotations

from datetime import UTC, datetime

from xmppservice.hub.commands import Call, Result, command
from xmppservice.hub.federation.domains import Federation
from xmppservice.hub.federation.link import ServerLink

_COLUMNS = ("pair", "state", "authenticated", "address", "since", "sent", "received", "waiting", "why")


class FederationCommands:
    """What the running server knows of other servers."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation

    @command("s2s", "List the streams to and from other servers, and why one failed.", changes=False)
    async def listLinks(self, call: Call) -> Result:
        """Streams, pairs that wait or failed, and pairs of others that were refused."""
        rows: list[tuple[str, ...]] = []
        for link in sorted(self._federation.links, key=lambda link: link.since):
            rows += _linkRows(link)
        shown = set()
        for route in self._federation.routes.values():
            if route.link is None and (route.waiting or route.reason):
                shown.add((route.local, route.remote))
                state = "waiting" if route.waiting else "unreachable"
                name = f"{route.local} → {route.remote}"
                rows.append((name, state, "", "", "", "", "", str(route.waiting), route.reason))
        for pair, (reason, when) in self._federation.failures.items():
            if pair not in shown:
                rows.append((f"{pair[0]} → {pair[1]}", "failed", "", "", _time(when), "", "", "", reason))
        return Result(columns=_COLUMNS, rows=rows)


def _linkRows(link: ServerLink) -> list[tuple[str, ...]]:
    address = "" if link.stream is None else link.stream.peer
    direction = "we opened it" if link.outgoing else "they opened it"
    pairs = sorted({*link.carries, *link.accepts})
    common = (address, _time(link.since), str(link.sent), str(link.received), "", direction)
    if not pairs:
        return [(link.remote or "?", "nothing proved yet", "", *common)]
    return [(f"{pair[0]} → {pair[1]}", "up", link.how.get(pair, ""), *common) for pair in pairs]


def _time(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S")
