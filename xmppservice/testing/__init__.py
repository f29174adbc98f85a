"""The public test kit: a whole server in memory, in virtual time, for tests of modules.

    server = MemoryServer(modules=("roster", "ping"))
    alice = server.client("alice/phone")
    alice.send("<iq type='get' id='1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
    assert alice.next().get("type") == "result"

Storage is the real one (SQLite in memory), parser and serialiser are the real ones; only
sockets, TLS and SASL are left out: `MemoryServer.client` logs in by itself.
"""

from xmppservice.testing.client import MemoryClient, MemoryStream
from xmppservice.testing.clock import MemoryClock
from xmppservice.testing.scenario import ScenarioError, play
from xmppservice.testing.server import MemoryServer

__all__ = ["MemoryClient", "MemoryClock", "MemoryServer", "MemoryStream", "ScenarioError", "play"]
