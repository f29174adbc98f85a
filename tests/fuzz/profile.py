"""How Hypothesis runs here: the same examples every time, unless a long run asks for others."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("XMPPSERVICE_FUZZ_TIMES", "1"))
"""So many times the usual number of examples; more than 1 also means other examples each time."""

FIXED = settings(
    deadline=None, derandomize=TIMES == 1, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def budget(count: int, fixed: settings = FIXED) -> settings:
    """The profile with this number of examples in the usual run."""
    return settings(fixed, max_examples=count * TIMES)
