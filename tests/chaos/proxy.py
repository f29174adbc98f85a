"""A proxy between client and server that cuts connections at some byte, or swallows everything from some moment on.

Two threads for each connection, one for each direction: they block, and nothing else does.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

_RESET = struct.pack("ii", 1, 0)


class Link:
    """One connection through the proxy. `up` and `down` are the bytes that pass before it is cut; None: all."""

    def __init__(self, client: socket.socket, server: socket.socket, up: int | None, down: int | None) -> None:
        self._client, self._server = client, server
        #: Whether everything vanishes from now on, also the news that an end has closed.
        self.hole = False
        #: Whether an end that is cut is reset.
        self.reset = False
        self._lock = threading.Lock()
        for source, target, left in ((client, server, up), (server, client, down)):
            threading.Thread(target=self._relay, args=(source, target, left), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, left: int | None) -> None:
        try:
            while data := source.recv(65536):
                if self.hole:
                    continue
                if left is not None and len(data) > left:
                    target.sendall(data[:left])
                    break
                target.sendall(data)
                left = None if left is None else left - len(data)
        except OSError:
            pass
        if not self.hole:
            self.cut()

    def cut(self) -> None:
        """Both ends are closed."""
        with self._lock:
            for end in (self._client, self._server):
                try:
                    if self.reset:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()


#: Says for a new connection after how many bytes upwards and downwards it is cut, and whether with a reset.
Plan = Callable[[], tuple[int | None, int | None, bool]]


class Proxy:
    """Listens on a port of its own."""

    def __init__(self, port: int, plan: Plan = lambda: (None, None, False)) -> None:
        self._target, self._plan = port, plan
        #: All connections there were, the newest last.
        self.links: list[Link] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 10.0)
            except OSError:
                # Nobody is there; another time somebody may be.
                client.close()
                continue
            for end in (client, server):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up, down, reset = self._plan()
            link = Link(client, server, up, down)
            link.reset = reset
            self.links.append(link)

    def end(self) -> None:
        """Close everything."""
        self._listener.close()
        for link in self.links:
            link.cut()
