"""Name servers that are slow, broken or away, and what they say that is strange (hardening R25)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.client import Client, Loop
from tests.chaos.conftest import LONG, Say
from tests.chaos.test_remotes import Flood
from tests.chaos.twins import ONE, TWO, Federated
from tests.dns import serving
from tests.interop.processes import freePort
from tests.security.certificates import Authority

#: Domains of the other server, and what is strange about their names.
THERE = {
    "plain.reached.test": "nothing",
    "truncated.reached.test": "no answer but by TCP",
    "many.reached.test": "a set of 400 records, of which one is of use",
    "slow.reached.test": "each answer takes a second",
    "six.reached.test": "its IPv6 address swallows connections",
    "late.reached.test": "asked for while there is no name server",
}
#: Domains that nobody reaches, and the error that senders get.
GONE = {
    "servfail.failing.test": "remote-server-timeout",
    "silent.failing.test": "remote-server-timeout",
    "sleepy.failing.test": "remote-server-timeout",
    "garbage.failing.test": "remote-server-timeout",
    "dead.failing.test": "remote-server-timeout",
    "missing.failing.test": "remote-server-not-found",
    "closed.failing.test": "remote-server-not-found",
}
EACH = 100 if LONG else 5
QUEUE_TIME = 20 if LONG else 8
PATIENCE = 180.0
#: IPv4 is tried a quarter of a second after IPv6. A build that waits for IPv6 to fail does not get there.
SIX_LIMIT = 5.0
USERS = [f"{name}@{ONE}" for name in ("sender0", "flood0", "reader0")]
HURRY = "from tests.chaos.inside import links; links.hurry(dial=False); "
STUBBORN = f"{HURRY}links.endless(); links.one(); "


def _zone(port: int) -> dict[str, dict[str, Any]]:
    zone: dict[str, dict[str, Any]] = {"xmpp.test": {"A": ["127.0.0.1"]}}
    zone["six.test"] = {**zone["xmpp.test"], "AAAA": ["::1"]}

    def service(domain: str, *records: list[Any]) -> None:
        zone[f"_xmpp-server._tcp.{domain}"] = {"SRV": list(records) or [[0, 0, port, "xmpp.test"]]}

    for domain in THERE:
        service(domain)
        zone[domain] = {}
    zone["truncated.reached.test"] = {"mode": "truncated"}
    zone["slow.reached.test"] = {"mode": "slow", "delay": 1.0}
    service("six.reached.test", [0, 0, port, "six.test"])
    dead = [[9, number, 1, f"x{number}.xmpp.test"] for number in range(399)]
    service("many.reached.test", [1, 0, port, "xmpp.test"], *dead)
    service("dead.failing.test", *dead)
    service("closed.failing.test", [0, 0, 0, "."])
    zone["*.xmpp.test"] = {"A": ["127.0.0.1"]}
    for name, mode in (("servfail", "servfail"), ("silent", "silent"), ("sleepy", "slow"), ("garbage", "garbage")):
        zone[f"{name}.failing.test"] = {"mode": mode}
    return zone


class Names:
    """A name server that can be taken away, and comes back on its port."""

    def __init__(self, zone: dict[str, dict[str, Any]]) -> None:
        self._zone = zone
        self._serving: AbstractContextManager[int] | None = None
        self.port = freePort()
        self.come()

    def come(self) -> None:
        """Serve."""
        self._serving = serving(self._zone, self.port)
        self._serving.__enter__()

    def go(self) -> None:
        """Serve no more."""
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.__exit__(None, None, None)


class Scene:
    """Our server, the one that it shall find, and the name server."""

    def __init__(self, folder: Path, sabotage: str, queueTime: int) -> None:
        authority = Authority("those who certify")
        ports = [freePort(), freePort()]
        self.names = Names(_zone(ports[1]))
        s2s = (
            f'authentication = "dialback"\nqueue_time = "{queueTime} s"\nresolver = ["127.0.0.1:{self.names.port}"]\n'
        )
        readers = [f"reader0@{domain}" for domain in THERE]
        self.one = Federated(folder / "one", ONE, authority, USERS, s2s, port=ports[0], sabotage=sabotage)
        self.two = Federated(folder / "two", TWO, authority, readers, s2s, {ONE: ports[0]}, ports[1], aliases=[*THERE])
        self.hole = _hole(ports[1])
        self.flood = Flood(f"flood0@{ONE}")
        self.readers = {domain: Client(f"reader0@{domain}", self.flood.book) for domain in THERE}
        self.loop = Loop([self.flood, *self.readers.values()])

    def enter(self) -> None:
        """All log in."""
        self.flood.connect(self.one.port)
        for reader in self.readers.values():
            reader.connect(self.two.port)

    def arrived(self, domain: str) -> int:
        """How many messages reached a domain."""
        return len(self.flood.book.arrivals[f"reader0@{domain}"])

    def send(self, domains: list[str]) -> float:
        """Messages to each; the time."""
        self.flood.flood(domains, EACH)
        return time.monotonic()

    def end(self) -> None:
        """Nothing is left behind."""
        for client in self.loop.clients:
            client.drop()
        for each in self.hole:
            each.close()
        self.names.go()
        self.one.end()
        self.two.end()


def _hole(port: int) -> list[socket.socket]:
    """The other server's port on IPv6 swallows connections; without IPv6 connecting fails at once, which is as well."""
    try:
        listener = socket.create_server(("::1", port), family=socket.AF_INET6, backlog=0)
    except OSError:
        return []
    kept = [listener]
    for _ in range(4):
        filler = socket.socket(socket.AF_INET6)
        filler.setblocking(False)
        filler.connect_ex(("::1", port))
        kept.append(filler)
    return kept


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Everybody is there; the test's parameter is the sabotage, and how long stanzas wait."""
    scene = Scene(tmp_path, *request.param)
    try:
        scene.enter()
        yield scene
    finally:
        scene.end()


@pytest.mark.slow
@pytest.mark.parametrize("scene", [(HURRY, QUEUE_TIME)], indirect=True)
def test_strangeNameServers(scene: Scene, say: Say) -> None:
    """R25: who can be found at all gets its messages, the others' come back with the right error in time; while there
    is no name server what waits waits."""
    flood, loop = scene.flood, scene.loop
    loop.pause(0.3)
    begin = scene.send(["six.reached.test"])
    loop.run(lambda: scene.arrived("six.reached.test") >= EACH, PATIENCE)
    six = time.monotonic() - begin
    first = [domain for domain in THERE if domain not in ("six.reached.test", "late.reached.test")]
    scene.send([*first, *GONE])
    loop.run(lambda: all(scene.arrived(domain) >= EACH for domain in first), PATIENCE)
    scene.names.go()
    scene.send(["late.reached.test"])
    loop.pause(1.0)
    scene.names.come()
    total = EACH * (len(THERE) + len(GONE))
    loop.run(lambda: scene.arrived("late.reached.test") + flood.back >= EACH * (1 + len(GONE)), PATIENCE, must=False)
    seconds = time.monotonic() - begin
    loop.run(lambda: not flood.open, PATIENCE)
    verdict = flood.book.judge()
    say(f"{total} messages by way of strange name servers: {verdict}; past broken IPv6 {six:.2f} s, all in"
        f" {seconds:.1f} s; {dict(flood.conditions)}\n")  # fmt: skip
    assert verdict.clean, verdict
    assert six < SIX_LIMIT
    assert (verdict.arrived, verdict.bounced) == (EACH * len(THERE), EACH * len(GONE)), verdict
    assert dict(flood.conditions) == dict.fromkeys(GONE.items(), EACH)
    assert "Traceback" not in scene.one.log + scene.two.log, scene.one.log[-4000:]
    assert scene.one.queued == 0


@pytest.mark.slow
@pytest.mark.parametrize("scene", [(STUBBORN, 1)], indirect=True)
def test_stubbornnessIsFoundOut(scene: Scene, say: Say) -> None:
    """R25: a build that waits for IPv6 to fail first, and lets nothing come back, is found out."""
    scene.send(["six.reached.test", "servfail.failing.test"])
    scene.loop.run(lambda: scene.arrived("six.reached.test") >= EACH, SIX_LIMIT, must=False)
    arrived = scene.arrived("six.reached.test")
    say(f"sabotaged: {arrived} past broken IPv6 within {SIX_LIMIT:g} s, {scene.flood.back} back\n")
    assert scene.flood.back == 0
    assert not arrived or not scene.hole
