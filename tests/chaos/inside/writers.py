"""Code for the writer process: it is a child of the server, so the server is told how to start it."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

#: The words of the command in front of the writer's own arguments: interpreter, -P, -m, module.
_WORDS = 4
_codes: list[str] = []
_MAIN = "import sys; from xmppservice.storage.writerprocess import main; sys.exit(main(sys.argv[1:]))"


def before(code: str) -> None:
    """Every writer that this server starts runs `code` first, behind what it was told before."""
    _codes.append(code)
    from xmppservice.storage import process

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        assert command[_WORDS - 1] == "xmppservice.storage.writerprocess", command
        return subprocess.Popen([*command[:2], "-c", "\n".join([*_codes, _MAIN]), *command[_WORDS:]], **options)

    process.subprocess = SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment]
