"""The side-by-side table: what is sent, what the RFC asks for, and what a server does. One row, one input."""

from __future__ import annotations

from tests.attack.table import access, identity, stanzas, streams, xml
from tests.attack.table.row import Row

GROUPS: dict[str, list[Row]] = {
    "XML": xml.rows(),
    "Streams": streams.rows(),
    "TLS, authentication, binding": access.rows(),
    "Stanzas and stream management": stanzas.rows(),
    "Who says what to whom": identity.rows(),
}
ROWS: list[Row] = [row for rows in GROUPS.values() for row in rows]

__all__ = ["GROUPS", "ROWS", "Row"]
