"""No message is lost, none stays in the spool: random lives of sessions (XEP-0198, XEP-0160)."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tests.hub.kit import CHAT, manage
from xmppservice.testing import MemoryClient, MemoryServer, MemoryStream
from xmppservice.testing.server import result
from xmppservice.wire import ns

RESOURCES = ("desk", "phone")

STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(("bob@localhost", "bob@localhost/desk", "bob@localhost/phone"))),
    st.tuples(
        st.sampled_from(
            (
                "bind", "managed", "slow", "manage", "ack", "lose", "close", "resume", "negative", "available", "hold",
                "flush",
            )
        ),
        st.sampled_from(RESOURCES),
    ),
    st.tuples(st.sampled_from(("wait", "long")), st.just("")),
)


class World:
    """Alice writes to Bob, whose clients come and go as the steps say."""

    def __init__(self) -> None:
        self.server = MemoryServer(CHAT, {"stream_management": {"queue_stanzas": 10}})
        self.server.account("bob")
        self.alice = self.server.client("alice/phone")
        manage(self.alice)
        self.bobs: dict[str, MemoryClient] = {}
        self.tokens: dict[str, str] = {}
        #: Stanzas that a client has had since ``<enable/>``.
        self.handled: dict[str, int] = {}
        self.sent = 0
        self.got: Counter[str] = Counter()

    def step(self, what: str, who: str) -> None:
        """Do one thing, if it can be done now."""
        if what == "send":
            self.sent += 1
            self.alice.send(f"<message to='{who}' type='chat' id='m{self.sent}'><body>m{self.sent}</body></message>")
        elif what == "wait":
            self.server.advance(1)
        elif what == "long":
            self.server.advance(700)
        elif what in ("bind", "managed", "slow"):
            self.bobs[who] = client = self.server.client(f"bob/{who}")
            if what != "bind":
                self._act(client, "manage" if what == "managed" else "hold", who)
            client.available()
        elif what == "resume":
            self._resume(who)
        elif who in self.bobs and not self.bobs[who].stream.closed:
            self._act(self.bobs[who], what, who)
        self.read()

    def _act(self, client: MemoryClient, what: str, who: str) -> None:
        if what == "manage" and client.session.management is None:
            self._act(client, "flush", who)
            self.read()
            client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            self.tokens[who], self.handled[who] = client.next("enabled").attrs["id"], 0
        elif what == "ack" and client.session.management is not None:
            client.send(f"<a xmlns='urn:xmpp:sm:3' h='{self.handled[who]}'/>")
        elif what == "lose":
            client.lose()
        elif what == "close":
            client.close()
        elif what in ("negative", "available"):
            client.available(-1 if what == "negative" else 0)
        elif what == "hold":
            # The network is slow: from now on nothing reaches the client, nor leaves the kernel.
            client.stream.holding = True
        elif what == "flush":
            client.stream.holding = False
            client.stream.flush()

    def _resume(self, who: str) -> None:
        if who not in self.tokens:
            return
        stream = MemoryStream("again")
        resumed: Deferred[object] = self.server.account("bob").resume(stream, self.tokens[who], self.handled[who])
        found: list[object] = []
        resumed.addCallbacks(found.append, lambda failure: None)
        if found:
            self.bobs[who] = MemoryClient(result(resumed.addCallback(lambda _: found[0])), stream)

    def read(self) -> None:
        """The clients read what has come."""
        for who, client in self.bobs.items():
            if client.stream.closed:
                # What it had not read when its connection went is gone.
                client.take()
                continue
            for stanza in () if client.stream.holding else client.take():
                if stanza.ns == ns.CLIENT and client.session.management is not None:
                    self.handled[who] += 1
                if stanza.name == "message":
                    self.got[stanza.attrs["id"]] += 1

    def finish(self) -> None:
        """Everybody leaves; then one client without stream management takes all that was stored."""
        self.server.advance(1)
        self.read()
        for who, client in self.bobs.items():
            if not client.stream.closed:
                self._act(client, "flush", who)
                self._act(client, "ack", who)
        self.read()
        for session in list(self.server.account("bob").sessions.values()):
            session.disconnect()
            self.read()
        self.bobs["last"] = self.server.client("bob/last")
        self.bobs["last"].available()
        self.read()
        self.server.advance(1)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=20, max_size=60))
def test_nothingLost(steps: list[tuple[str, str]]) -> None:
    """Each message is delivered, or its sender is told; afterwards spool and offline storage are empty."""
    world = World()
    for what, who in steps:
        world.step(what, who)
    world.finish()
    bounced = {stanza.get("id") for stanza in world.alice.take() if stanza.get("type") == "error"}
    for number in range(1, world.sent + 1):
        assert world.got[f"m{number}"] or f"m{number}" in bounced, f"m{number} is lost"
    store = world.server.database
    assert world.server.account("bob").offline == 0
    assert result(store.offline.load(world.server.account("bob").id)) == []
    assert spooled(world.server) == 0


def spooled(server: MemoryServer) -> int:
    """How many rows the spool has."""
    store = server.database
    store.spool.flush()  # type: ignore[attr-defined]
    before = len(result(store.offline.load(server.account("bob").id)))
    result(store.store.execute("spool.recover"))
    return len(result(store.offline.load(server.account("bob").id))) - before
