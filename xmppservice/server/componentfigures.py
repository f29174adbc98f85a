"""The figures of external components (XEP-0114). Their labels are the domains in the configuration, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xmppservice.edge.writer import carrier, unsent
from xmppservice.hub.figures import COUNTER, GAUGE, Figures, Values

if TYPE_CHECKING:
    from xmppservice.edge.component import ComponentFactory
    from xmppservice.hub.component import ComponentPort

_OURS = "xmppservice_component_"


def componentFigures(figures: Figures, factory: ComponentFactory, ports: Iterable[ComponentPort]) -> None:
    """Register them: connections and handshakes, and for each component whether it is there and what passes."""
    report = factory.report
    figures.gauge(
        f"{_OURS}streams", "Connections of components, those that have not proved themselves yet included.",
        lambda: len(factory.streams),
    )  # fmt: skip
    figures.table(
        f"{_OURS}logins_total", COUNTER, "Handshakes of components, by what came of them.", ("result",),
        lambda: {(result,): float(count) for (_, result), count in report.logins.items()},
    )  # fmt: skip
    figures.table(
        f"{_OURS}stream_errors_total", COUNTER, "Stream errors sent to components, by condition.", ("condition",),
        lambda: {(condition,): float(count) for condition, count in report.streamErrors.items()},
    )  # fmt: skip
    figures.table(
        f"{_OURS}connected", GAUGE, "1 while the component is connected.", ("component",),
        lambda: {(port.name,): float(port.accepting) for port in ports},
    )  # fmt: skip
    figures.table(
        f"{_OURS}unsent_bytes", GAUGE, "Bytes that wait for the component to read.", ("component",),
        lambda: {(port.name,): _unsent(port) for port in ports},
    )  # fmt: skip
    figures.table(
        f"{_OURS}stanzas_total", COUNTER, "Stanzas from (in) and to (out) the component.",
        ("component", "direction", "kind"),
        lambda: _stanzas(ports),
    )  # fmt: skip


def _unsent(port: ComponentPort) -> float:
    link = port.link
    connection = None if link is None else carrier(getattr(link.stream, "transport", None))
    return 0.0 if connection is None else float(unsent(connection))


def _stanzas(ports: Iterable[ComponentPort]) -> Values:
    return {(port.name, *labels): count for port in ports for labels, count in port.traffic.stanzas().items()}
