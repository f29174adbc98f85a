"""How the client programs talk to the tests: a JSON object on each line, commands in, events out.

Only the standard library is used here, because the programs run in environments of their own. The first line
tells where and how to log in (see ``Login``); every further line is a command for the program's own class:
``{"do": "chat", "to": "bob@localhost", "body": "hi"}`` calls ``chat(to=..., body=...)``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Login:
    """Who logs in, and to which address; ``ca`` is the file of the only certificate authority to trust."""

    jid: str
    password: str
    host: str
    port: int
    ca: str
    direct: bool


def tell(event: str, **fields: Any) -> None:
    """Reports one event to the test."""
    print(json.dumps({"event": event, **fields}), flush=True)


async def commandLines() -> asyncio.StreamReader:
    """Standard input as a stream of lines."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def readLogin(reader: asyncio.StreamReader) -> Login:
    """Reads the first line."""
    return Login(**json.loads(await reader.readline()))


async def obey(reader: asyncio.StreamReader, client: Any) -> None:
    """Carries out commands until the test logs the client out or goes away."""
    while line := await reader.readline():
        command = json.loads(line)
        name = command.pop("do")
        await getattr(client, name)(**command)
        if name == "logout":
            return
