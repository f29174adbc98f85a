"""What can be told of an endpoint without Twisted's parsers, which need a reactor."""

from __future__ import annotations

import re
from typing import Final

TCP: Final = re.compile(r"(?:haproxy:)?(tcp6?|ssl):(?:port=)?([0-9]+)(?::(.*))?")
"""The kind of an endpoint, its port, and the rest."""


def portOf(endpoint: str) -> int | None:
    """The TCP port of an endpoint, None if it has none that can be told."""
    match = TCP.fullmatch(endpoint)
    return None if match is None else int(match[2])
