"""The figures of streams between servers. No domain stands in their labels: who chooses those is not us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmppservice.hub.figures import COUNTER, GAUGE, Figures, Values

if TYPE_CHECKING:
    from xmppservice.hub.federation.domains import Federation
    from xmppservice.server.federation import FederationService

_OURS = "xmppservice_s2s_"


def federationFigures(figures: Figures, service: FederationService) -> None:
    """Register them: streams, what passes and what waits, attempts that failed, and who proved to be who how."""
    federation = service.federation
    _streams(figures, service)
    figures.gauge(
        f"{_OURS}waiting_stanzas", "Stanzas that wait for a stream to another server.",
        lambda: float(waitingStanzas(federation)),
    )  # fmt: skip
    figures.gauge(
        f"{_OURS}waiting_bytes", "Bytes of the stanzas that wait for a stream to another server.",
        lambda: float(federation.waitingBytes),
    )  # fmt: skip
    figures.gauge(
        f"{_OURS}unacknowledged_stanzas", "Stanzas that other servers have not acknowledged yet (XEP-0198).",
        lambda: float(sum(len(link.queue) for link in federation.links if link.queue is not None)),
    )  # fmt: skip
    figures.table(
        f"{_OURS}failures_total", COUNTER, "Attempts to reach another server that failed, by what senders are told.",
        ("condition",), lambda: {(condition,): float(n) for condition, n in federation.tally.failures.items()},
    )  # fmt: skip
    figures.table(
        f"{_OURS}authentications_total", COUNTER,
        "Pairs of domains that were proved: in by other servers to us, out by us to them; and on what that rests.",
        ("direction", "way"), lambda: {key: float(n) for key, n in federation.tally.proofs.items()},
    )  # fmt: skip
    figures.table(
        f"{_OURS}refused_proofs_total", COUNTER, "Proofs of other servers that were refused, by way.", ("way",),
        lambda: _refusals(service),
    )  # fmt: skip


def _streams(figures: Figures, service: FederationService) -> None:
    """Connections, and what passes over them."""
    factories = {"in": service.incoming, "out": service.outgoing}
    figures.table(
        f"{_OURS}streams", GAUGE, "Connections with other servers: in opened by them, out by us.", ("direction",),
        lambda: {(direction,): float(len(factory.streams)) for direction, factory in factories.items()},
    )  # fmt: skip
    figures.table(
        f"{_OURS}stream_errors_total", COUNTER, "Stream errors sent to other servers, by condition.",
        ("direction", "condition"),
        lambda: {
            (direction, condition): float(n)
            for direction, factory in factories.items()
            for condition, n in factory.report.streamErrors.items()
        },
    )  # fmt: skip
    figures.table(
        f"{_OURS}refused_connections_total", COUNTER, "Connections of other servers refused, by reason.", ("reason",),
        lambda: {(reason,): float(n) for reason, n in service.incoming.refused.items()},
    )  # fmt: skip
    figures.table(
        f"{_OURS}throttled_total", COUNTER, "Times a stream of another server was over its rate and not read.", (),
        lambda: {(): float(sum(factory.throttled for factory in factories.values()))},
    )  # fmt: skip
    figures.table(
        f"{_OURS}stanzas_total", COUNTER, "Stanzas from (in) and to (out) other servers.", ("direction",),
        lambda: _stanzas(service.federation),
    )  # fmt: skip


def _stanzas(federation: Federation) -> Values:
    sent, received = federation.tally.stanzas(federation.links)
    return {("in",): float(received), ("out",): float(sent)}


def _refusals(service: FederationService) -> Values:
    """By dialback, and by certificate (SASL EXTERNAL)."""
    external = sum(
        count
        for (mechanism, result), count in service.incoming.report.logins.items()
        if mechanism == "EXTERNAL" and result != "ok"
    )
    return {("dialback",): float(service.federation.tally.refused), ("external",): float(external)}


def waitingStanzas(federation: Federation) -> int:
    """Stanzas that wait for a stream."""
    return sum(route.waiting for route in federation.routes.values())


def otherServers(service: FederationService | None) -> str:
    """One line for ``xmppctl status``."""
    if service is None:
        return "not talked to"
    federation = service.federation
    unreachable = sum(route.link is None and route.failures > 0 for route in federation.routes.values())
    return (
        f"streams: {len(federation.links)}, waiting stanzas: {waitingStanzas(federation)}, "
        f"unreachable domains: {unreachable}"
    )
