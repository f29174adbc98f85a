"""What a check finds."""

from __future__ import annotations

import attrs

OK, WARNING, ERROR = "ok", "warning", "error"


@attrs.frozen
class Finding:
    """One thing that was looked at.

    @ivar level: `OK`, `WARNING` or `ERROR`.
    @ivar mend: what to do about it.
    """

    level: str
    what: str
    mend: str = ""
