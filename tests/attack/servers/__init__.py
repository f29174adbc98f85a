"""The servers that the suite can be pointed at: ours, and Debian's Prosody and ejabberd as instances of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.attack.servers.ejabberd import Ejabberd
from tests.attack.servers.own import AttackedServer
from tests.attack.servers.prosody import Prosody
from tests.attack.servers.victim import Attacked


def _own(folder: Path, users: dict[str, str]) -> Attacked:
    server = AttackedServer(folder)
    server.addUsers(users)
    return server


SERVERS: dict[str, Callable[[Path, dict[str, str]], Attacked]] = {
    "own": _own,
    "prosody": Prosody,
    "ejabberd": Ejabberd,
}


def start(name: str, folder: Path, users: dict[str, str]) -> Attacked:
    """A running server with these accounts, in a folder of its own, on loopback ports that were free."""
    return SERVERS[name](folder, users)


__all__ = ["SERVERS", "Attacked", "start"]
