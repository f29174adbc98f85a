"""Other servers that are dead, slow, or play for time, a thousand of them at the same time (hardening R24)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.book import Book
from tests.chaos.client import Client, Loop, Sender
from tests.chaos.conftest import LONG, Say
from tests.chaos.misfits import KINDS, Misfits
from tests.chaos.twins import ONE, TWO, Federated
from tests.dns import serving
from tests.interop.processes import freePort
from tests.security.certificates import Authority, selfSigned
from xmppservice.wire import ns
from xmppservice.wire.parser import Element

#: Domains that cannot be reached, and messages for each of them.
DOMAINS = 1000
EACH = 15 if LONG else 1
#: Users who write to them; each begins with a share of its own, as nobody may have attempts made for all of them.
FLOODS = 6 if LONG else 4
#: Seconds that a stanza waits, and what may wait for one server.
QUEUE_TIME = 20 if LONG else 3
QUEUE = 150
S2S = f'authentication = "dialback"\nqueue_time = "{QUEUE_TIME} s"\nqueue_stanzas = {QUEUE}\n'
#: The last attempt may begin just before the time is over. Ten times that is room for a slow machine.
LIMIT = QUEUE_TIME + (45 if LONG else 4.5)
PATIENCE = LIMIT * 3 if LONG else 120.0
#: Attempts in the time that a stanza waits: after 1, 2, 4 and 8 seconds, each a quarter less at most, and the last.
ATTEMPTS = 7 if LONG else 5
#: How long a server is away that comes back.
AWAY = 100.0 if LONG else 3.0
#: What the server may grow by: the connections, and what waits.
GROWTH = (200 if LONG else 80) << 20
#: Who sends so much without reading in between gets as much back.
LARGE = '[modules.stream_management]\nqueue_size = "64 MiB"\nqueue_stanzas = 100_000'
USERS = [f"{name}@{ONE}" for name in ("sender0", "reader0", *(f"flood{number}" for number in range(FLOODS)))]
HURRY = "" if LONG else "from tests.chaos.inside import links; links.hurry(); "
ENDLESS = "from tests.chaos.inside import links; links.hurry(); links.endless(); links.eager(); "
NOBODY = "nobody"
#: A domain for which there is more than may wait, and how much more.
FULL, MORE = "full.hole.test", 50


class Timed(Book):
    """Knows how long each message was under way."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._begun: dict[str, float] = {}
        self.seconds: list[float] = []

    def send(self, sender: str, recipient: str) -> str:
        """See `Book.send`."""
        id = super().send(sender, recipient)
        self._begun[id] = time.monotonic()
        return id

    def arrive(self, recipient: str, id: str, stanzaId: str) -> None:
        """See `Book.arrive`."""
        super().arrive(recipient, id, "")
        self.seconds.append(time.monotonic() - self._begun.pop(id, time.monotonic()))

    def slowest(self) -> float:
        """The 99th percentile since the last time."""
        seconds, self.seconds = sorted(self.seconds), []
        return seconds[len(seconds) * 99 // 100] if seconds else 0.0


class Flood(Client):
    """Writes to those who cannot be reached, and notes what comes back."""

    def __init__(self, user: str, first: Flood | None = None) -> None:
        super().__init__(user, first.book if first else Book("f"))
        #: (Kind, condition) → how often.
        self.errors: Counter[tuple[str, str]] = first.errors if first else Counter()
        #: The same by domain.
        self.conditions: Counter[tuple[str, str]] = first.conditions if first else Counter()

    def _message(self, item: Element) -> None:
        super()._message(item)
        error = item.find(ns.CLIENT, "error")
        assert error is not None, item
        domain, condition = (item.get("from") or "").partition("@")[2], error.elements()[0].name
        self.errors[domain.split(".")[-2], condition] += 1
        self.conditions[domain, condition] += 1

    def flood(self, domains: list[str], each: int) -> None:
        """As many messages to each domain, in turn."""
        for _ in range(each):
            self.write(b"".join(self.message(f"reader0@{domain}") for domain in domains))
        self.ask()

    @property
    def back(self) -> int:
        """How many have come back."""
        return len(self.book.bounced)


class Scene:
    """Our server, another one that is well, and a crowd that is not."""

    def __init__(self, folder: Path, resolver: int, sabotage: str, count: int) -> None:
        folder.mkdir(exist_ok=True)
        self.misfits = Misfits(selfSigned("misfit.test").write(folder, "misfit"))
        names = [*KINDS, NOBODY]
        #: Those of one kind are spread over the whole.
        self.domains = [f"d{number}.{names[number % len(names)]}.test" for number in range(count)]
        places = {
            domain: self.misfits.ports[kind]
            for domain in [*self.domains, FULL] if (kind := domain.split(".")[1]) != NOBODY
        }  # fmt: skip
        authority = Authority("those who certify")
        ports = [freePort(), freePort()]
        s2s = f'{S2S}resolver = ["127.0.0.1:{resolver}"]\n'
        self.one = Federated(folder / "one", ONE, authority, USERS, s2s, {TWO: ports[1], **places}, ports[0],
                             sabotage=sabotage, more=LARGE)  # fmt: skip
        self.two = Federated(folder / "two", TWO, authority, [f"reader0@{TWO}"], S2S, {ONE: ports[0]}, ports[1])
        self.healthy = Timed("h")
        self.sender = Sender(f"sender0@{ONE}", self.healthy, [f"reader0@{TWO}"], 20)
        self.reader = Client(f"reader0@{TWO}", self.healthy)
        self.flood = Flood(f"flood0@{ONE}")
        self.floods = [self.flood, *(Flood(f"flood{number}@{ONE}", self.flood) for number in range(1, FLOODS))]
        self.loop = Loop([self.sender, self.reader, *self.floods])

    def enter(self) -> None:
        """All log in."""
        self.reader.connect(self.two.port)
        for client in (self.sender, *self.floods):
            client.connect(self.one.port)

    def end(self) -> None:
        """Nothing is left behind."""
        for client in self.loop.clients:
            client.drop()
        self.misfits.end()
        self.one.end()
        self.two.end()


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Everybody is there; the test's parameter is the sabotage, and how many domains there are."""
    sabotage, count = request.param
    with serving({"unused.test": {}}) as resolver:
        scene = Scene(tmp_path, resolver, sabotage, count)
        try:
            scene.enter()
            yield scene
        finally:
            scene.end()


@pytest.mark.slow
@pytest.mark.parametrize("scene", [(HURRY, DOMAINS)], indirect=True)
def test_thousandServersThatCannotBeReached(scene: Scene, say: Say) -> None:
    """R24: messages for all of them come back with the right error within the limit, after a few attempts; what is too
    much for one of them comes back at once; memory is bounded, and who writes to a server that is well notices
    nothing."""
    loop, flood = scene.loop, scene.flood
    loop.pause(2.0)
    quiet, calm, memory = scene.healthy.slowest(), scene.reader.heard, scene.one.memory
    total = QUEUE + MORE
    for turn in range(FLOODS if LONG else 1):
        for number, each in enumerate(scene.floods):
            share = scene.domains[(number + turn) % FLOODS :: FLOODS]
            each.flood(share, EACH)
            total += len(share) * EACH
    flood.flood([FULL], QUEUE + MORE)
    begin = time.monotonic()
    during, grown = [0], [0]

    def back() -> bool:
        if flood.back < total:
            during[0] = scene.reader.heard - calm
            grown[0] = max(grown[0], scene.one.memory - memory)
        return flood.back == total and not any(each.open for each in scene.floods)

    loop.run(back, PATIENCE, must=False)
    seconds = time.monotonic() - begin
    loaded, attempts = scene.healthy.slowest(), scene.misfits.connections()
    scene.sender.active = False
    loop.run(lambda: not scene.sender.open and not scene.healthy.missing(), 60.0)
    verdict = scene.healthy.judge()
    say(f"{total} messages to {len(scene.domains)} servers that cannot be reached: {flood.back} back in {seconds:.1f} s"
        f" ({dict(flood.errors)}); connections {attempts}; grown {grown[0] / 2**20:.1f} MiB; meanwhile {during[0]}"
        f" messages between servers that are well, p99 {loaded:.3f} s, before {quiet:.3f} s: {verdict}\n")  # fmt: skip
    assert flood.back == total
    assert {kind for kind, condition in flood.errors if condition == "remote-server-not-found"} == {NOBODY}
    assert flood.conditions[FULL, "resource-constraint"] == MORE
    others = {condition for domain, condition in flood.conditions if domain != FULL and f".{NOBODY}." not in domain}
    assert others == {"remote-server-timeout"}
    assert max(attempts.values()) <= ATTEMPTS * len(scene.domains) // (len(KINDS) + 1), attempts
    assert during[0] > 0
    assert verdict.clean and verdict.arrived == verdict.sent
    assert grown[0] < GROWTH
    assert "Traceback" not in scene.one.log + scene.two.log, scene.one.log[-4000:]
    assert scene.one.queued == 0


@pytest.mark.slow
@pytest.mark.parametrize("scene", [(ENDLESS, len(KINDS))], indirect=True)
def test_endlessPatienceIsFoundOut(scene: Scene, say: Say) -> None:
    """R24: a build that lets any number wait for ever, and tries again and again, is found out."""
    flood, loop = scene.flood, scene.loop
    flood.flood([name for name in scene.domains if ".closing." in name], 1)
    flood.flood([FULL], QUEUE + MORE)
    loop.run(lambda: scene.misfits.connections().get("closing", 0) > ATTEMPTS, PATIENCE)
    loop.pause(1.0)
    say(f"sabotaged: {flood.back} of {QUEUE + MORE} messages back; connections {scene.misfits.connections()}\n")
    assert flood.back == 0


@pytest.mark.slow
@pytest.mark.parametrize("scene", [(HURRY, len(KINDS))], indirect=True)
def test_serverThatComesBack(scene: Scene, say: Say) -> None:
    """R24: while a server is away everything for it comes back, ever more of it at once; when it is there again
    messages reach it within a minute."""
    scene.sender.active = False
    scene.two.kill()
    scene.reader.drop()
    flood, away = scene.flood, time.monotonic()
    scene.reader.book = flood.book
    sent = 0
    while time.monotonic() < away + AWAY:
        flood.flood([TWO], 1)
        sent += 1
        scene.loop.pause(0.25)
    scene.loop.run(lambda: flood.back == sent, PATIENCE)
    attempts = scene.one.log.count(f"cannot reach {TWO}")
    scene.two.start()
    scene.reader.connect(scene.two.port)
    begin = time.monotonic()
    while not flood.book.arrivals and time.monotonic() < begin + 120.0:
        flood.flood([TWO], 1)
        scene.loop.pause(0.25)
    seconds = time.monotonic() - begin
    say(f"away for {AWAY} s: {sent} messages, all back, {attempts} attempts;"
        f" reached {seconds:.1f} s after its return\n")  # fmt: skip
    assert seconds < 65.0
    assert attempts <= 2 * ATTEMPTS
