"""What the name server says of some domains (hardening S07, S08, S10), and where that leads."""

from __future__ import annotations

import socket
import threading
from typing import Any

from tests.attack.peer import Papers, RawServer

MANY = 64
#: Ways in which a name server may answer with nothing that can be used.
LIES = ("garbage", "loop", "deep", "cut", "wrong-id", "wrong-question", "elsewhere", "huge", "stalled", "silent")


class Door:
    """A port where everybody is shown the door; `knocks` counts them."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((address, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.knocks = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            self.knocks += 1
            connection.close()

    def close(self) -> None:
        """The end."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Places:
    """Where the names lead: to servers with a good certificate for themselves, to a door, and to what is inside."""

    def __init__(self, papers: Papers) -> None:
        self.providers = {name: RawServer("provider.test", papers) for name in ("delegated", "alias", "trusted")}
        self.door = Door()
        self.inside = Door("127.9.0.1")

    def close(self) -> None:
        """The end."""
        for each in (*self.providers.values(), self.door, self.inside):
            each.close()

    def zone(self) -> dict[str, dict[str, Any]]:
        """All records."""
        door, inside = self.door.port, self.inside.port
        return {
            "provider.test": {"A": ["127.0.0.1"]},
            **{f"_xmpp-server._tcp.{name}.provider.test": {"SRV": [[0, 0, each.port, "provider.test"]]}
               for name, each in self.providers.items()},
            **{f"_xmpp-server._tcp.{name}.test": {"CNAME": [f"_xmpp-server._tcp.{name}.provider.test"]}
               for name in self.providers},
            # S07: more than anybody needs, or less.
            **_srv("many", *([n, 0, door, f"h{n}.many.test"] for n in range(MANY))),
            **{f"h{n}.many.test": {"A": ["127.0.0.1"]} for n in range(MANY)},
            **_srv("port0", [0, 0, 0, "provider.test"]),
            **_srv("nowhere", [0, 0, 5269, "gone.test"]),
            **_srv("dot", [0, 0, 5269, "."]),
            **_srv("number", [0, 0, door, "127.0.0.1"]),
            "_xmpp-server._tcp.fleeting.test": {"SRV": [[0, 0, door, "fleeting.test"]], "ttl": 0},
            "fleeting.test": {"A": ["127.0.0.1"], "ttl": 0},
            "circle.test": {"CNAME": ["circle2.test"]},
            "circle2.test": {"CNAME": ["circle.test"]},
            "_xmpp-server._tcp.circling.test": {"CNAME": ["_xmpp-server._tcp.circling.test"]},
            **{f"chain{n}.test": {"CNAME": [f"chain{n + 1}.test"]} for n in range(30)},
            "empty.test": {"TXT": ["nothing here"]},
            "servfail.test": {"mode": "servfail"},
            "refusing.test": {"mode": "refused"},
            # S08.
            **{f"{mode}.test": {"mode": mode, "A": ["127.0.0.1"]} for mode in LIES},
            # S10: networks that are refused, in every spelling.
            **_srv("inside", [0, 0, inside, "in4.test"], [1, 0, inside, "in6.test"]),
            "in4.test": {"A": ["127.9.0.1", "169.254.0.1"]},
            "in6.test": {"AAAA": ["::1", "::ffff:127.9.0.1", "64:ff9b::7f09:1", "2002:7f09:1::1"]},
            "at-home.test": {"A": ["127.9.0.1"], "AAAA": ["::1"]},
        }


def _srv(name: str, *records: list[Any]) -> dict[str, dict[str, Any]]:
    return {f"_xmpp-server._tcp.{name}.test": {"SRV": list(records)}}
