"""xmppctl's end of the control socket: plain blocking calls, no reactor, as fast as a shell command should be."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from xmppservice.ctl import protocol
from xmppservice.hub.commands import CommandError, CommandInfo, Result


class NotRunning(Exception):
    """Nobody listens on the control socket."""


class Client:
    """A connection to the running server."""

    def __init__(self, path: str) -> None:
        """Connect.

        @raise NotRunning: there is no server.
        @raise CommandError: there is one, but it is not ours to command.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            self._socket.close()
            raise NotRunning(path) from None
        except OSError as error:
            self._socket.close()
            problem = f"{path}: {error.strerror or error}"
            raise CommandError(problem, "run this as the server's user or as root") from None
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        """End the connection."""
        self._lines.close()
        self._socket.close()

    def describe(self) -> list[CommandInfo]:
        """All commands of the server, its modules' included."""
        return [CommandInfo.fromData(entry) for entry in self._ask({"describe": True}, None)["commands"]]

    def run(self, name: str, arguments: dict[str, Any], progress: Callable[[str], None] | None = None) -> Result:
        """Run a command.

        @raise CommandError: it cannot be done.
        """
        rows: list[Any] = []
        answer = self._ask({"command": name, "arguments": arguments}, progress, rows)["result"]
        return Result(answer["text"], tuple(answer["columns"]), rows, answer["failed"])

    def _ask(
        self, request: dict[str, Any], progress: Callable[[str], None] | None, rows: list[Any] | None = None
    ) -> dict[str, Any]:
        try:
            self._socket.sendall(protocol.encode(request) + b"\n")
            while True:
                line = self._lines.readline(protocol.MAX_ANSWER + 1)
                if not line.endswith(b"\n"):
                    raise CommandError("the server closed the connection", "look into its log")
                answer = protocol.decode(line)
                if "error" in answer:
                    raise CommandError(answer["error"]["problem"], answer["error"]["mend"])
                if "progress" in answer:
                    if progress is not None:
                        progress(answer["progress"])
                elif "rows" in answer and rows is not None:
                    rows.extend(answer["rows"])
                else:
                    return answer
        except (OSError, ValueError) as error:
            raise CommandError(f"talking to the server failed: {error}", "look into its log") from None
