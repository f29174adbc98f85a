"""Servers that nobody wants to talk to, in one process: ``python -m tests.chaos.misfits CERTIFICATE``.

It prints a line of JSON: kind → port on 127.0.0.1. For each line on its input it prints another one: kind → how many
connections there were. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.sources import ROOT
from xmppservice.wire import ns

KINDS = {
    "dead": "refuses connections",
    "hole": "does not even answer to a SYN",
    "closing": "closes at once",
    "mute": "says nothing",
    "dripping": "says its header a byte a second",
    "stalling": "agrees to TLS and then says nothing",
    "unanswering": "offers dialback over TLS and answers none",
}
_WAIT = 3600.0
_STARTTLS = f"<starttls xmlns='{ns.TLS}'><required/></starttls>"
_DIALBACK = f"<dialback xmlns='{ns.DIALBACK_FEATURE}'/>"


class Misfits:
    """The process, seen from a test."""

    def __init__(self, certificate: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.misfits", str(certificate)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.ports: dict[str, int] = self._line()

    def _line(self) -> dict[str, int]:
        assert self._process.stdout is not None
        found: dict[str, int] = json.loads(self._process.stdout.readline())
        return found

    def connections(self) -> dict[str, int]:
        """How many there were of each kind."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return self._line()

    def end(self) -> None:
        """Stop it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class _Misfit:
    """One kind."""

    def __init__(self, kind: str, counts: Counter[str], context: ssl.SSLContext) -> None:
        self._kind, self._counts, self._context = kind, counts, context

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Misbehave on one connection."""
        self._counts[self._kind] += 1
        try:
            if self._kind != "closing":
                await self._misbehave(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _misbehave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._kind == "mute":
            await _swallow(reader)
            return
        header = await _header(reader)
        if self._kind == "dripping":
            for byte in header:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1.0)
        writer.write(header + f"<stream:features>{_STARTTLS}</stream:features>".encode())
        await reader.readuntil(b"/>")
        writer.write(f"<proceed xmlns='{ns.TLS}'/>".encode())
        if self._kind == "unanswering":
            await writer.start_tls(self._context)
            writer.write(await _header(reader) + f"<stream:features>{_DIALBACK}</stream:features>".encode())
        await _swallow(reader)


async def _header(reader: asyncio.StreamReader) -> bytes:
    """Read the header of a stream; returns our answer to it."""
    data = b""
    while b"<stream:stream" not in data:
        data += await reader.readuntil(b">")
    found = re.search(rb"to=['\"]([^'\"]+)", data)
    name = b"misfit.test" if found is None else found[1]
    return (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' id='misfit' "
        b"xmlns:stream='http://etherx.jabber.org/streams' from='" + name + b"' version='1.0'>"
    )


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await asyncio.wait_for(reader.read(65536), _WAIT):
        pass


def _hole() -> tuple[int, list[socket.socket]]:
    """A port whose queue of connections is full, and what has to be kept for that."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port: int = listener.getsockname()[1]
    kept = [listener]
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        kept.append(filler)
    return port, kept


async def _main(certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, str(Path(certificate).with_suffix(".key")))
    counts: Counter[str] = Counter()
    hole, kept = _hole()
    # Bound, so that nobody else takes the port, but nobody listens.
    dead = socket.socket()
    dead.bind(("127.0.0.1", 0))
    kept.append(dead)
    ports: dict[str, int] = {"dead": dead.getsockname()[1], "hole": hole}
    servers: list[Any] = []
    for kind in KINDS:
        if kind not in ports:
            misfit = _Misfit(kind, counts, context)
            servers.append(await asyncio.start_server(misfit.serve, "127.0.0.1", 0, backlog=2000))
            ports[kind] = servers[-1].sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        print(json.dumps(counts), flush=True)
    for each in kept:
        each.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
