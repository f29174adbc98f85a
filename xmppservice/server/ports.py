"""Addresses that something other than accounts owns: external components (XEP-0114)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from xmppservice.edge.component import Seat
from xmppservice.hub.component import ComponentPort
from xmppservice.hub.rights import NOTHING, Rights
from xmppservice.hub.router import Router
from xmppservice.protocol.errors import StreamError
from xmppservice.settings import PortSettings, Settings, complaint

COMPONENT = "component"

SHORTEST_SECRET = 20
"""Characters that a secret must have (hardening V11): it is all that keeps a stranger from being the component."""

DEFAULT_LISTENER = "tcp:5347:interface=127.0.0.1"


def readSecrets(settings: Settings) -> dict[str, bytes]:
    """Domain of a component → its secret; raises `SettingsError` for a port that cannot be served."""
    return {domain: _secretOf(settings, port) for domain, port in settings.ports.items()}


def _secretOf(settings: Settings, port: PortSettings) -> bytes:
    path = ("ports", port.domain)
    if port.kind != COMPONENT:
        raise complaint(settings, (*path, "kind"), f'"{port.kind}" is nothing that can be served; use "{COMPONENT}"')
    if not port.secretFile:
        problem = "needs secret_file; make one: umask 077; openssl rand -hex 24 > NAME.secret"
        raise complaint(settings, path, problem)
    try:
        with open(port.secretFile, encoding="utf-8") as file:
            secret = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise complaint(settings, (*path, "secret_file"), f"{port.secretFile} cannot be read: {error}") from None
    if len(secret) < SHORTEST_SECRET:
        problem = f"the secret in {port.secretFile} is shorter than {SHORTEST_SECRET} characters; openssl rand -hex 24"
        raise complaint(settings, (*path, "secret_file"), f"{problem} makes a good one")
    return secret.encode()


def listeners(settings: Settings) -> tuple[str, ...]:
    """Where components are listened for: as configured, else on loopback as soon as there is one."""
    return settings.listen.component or ((DEFAULT_LISTENER,) if settings.ports else ())


class Ports:
    """The ports of one server, by domain."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._seats: dict[str, Seat] = {}

    def seatFor(self, domain: str) -> Seat | None:
        """The seat of a component, None where none is expected."""
        return self._seats.get(domain)

    def __iter__(self) -> Iterator[ComponentPort]:
        return iter([seat.port for seat in self._seats.values()])

    def apply(self, secrets: Mapping[str, bytes], rights: Mapping[str, Rights] | None = None) -> None:
        """From now on these components are expected, with these rights; those that stay keep their streams."""
        destinations, hosts = self._router.destinations, list(self._router.hosts.values())
        for domain in [domain for domain in self._seats if domain not in secrets]:
            destinations.pop(domain, None)
            port = self._seats.pop(domain).port
            port.stop(StreamError("host-gone"))
            port.grant(NOTHING, hosts)
        for domain, secret in secrets.items():
            known = self._seats.get(domain)
            port = known.port if known is not None else ComponentPort(domain, partial(self._router.homeOf, domain))
            self._seats[domain] = Seat(port, secret)
            destinations[domain] = port
            port.grant((rights or {}).get(domain, NOTHING), hosts)
