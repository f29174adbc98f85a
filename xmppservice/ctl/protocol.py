"""The lines that xmppctl and the server exchange over the control socket, one JSON object each.

xmppctl sends ``{"command": name, "arguments": {…}}`` or ``{"describe": true}``. The server answers with any number of
``{"progress": text}`` and ``{"rows": [[…], …]}`` and one last ``{"result": {…}}``, ``{"commands": […]}`` or
``{"error": {"problem": …, "mend": …}}``; then the next request may come.
"""

from __future__ import annotations

import json
from typing import Any

MAX_REQUEST = 256 * 1024
"""Bytes of one request; an import is sent in parts that stay below."""

MAX_ANSWER = 1024 * 1024
"""Bytes of one line of an answer; long tables come in parts."""

ROWS_AT_ONCE = 200


def encode(message: dict[str, Any]) -> bytes:
    """One message as a line without its end."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def decode(line: bytes) -> dict[str, Any]:
    """One line as a message.

    @raise ValueError: it is none.
    """
    try:
        message = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message
