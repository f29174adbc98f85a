"""One round of the chaos: load, the blow, the restart, the collection, the judgement."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.book import Book, Verdict
from tests.chaos.client import Client, Loop, Sender
from tests.chaos.victim import Victim

SENDERS = [f"sender{number}" for number in range(8)]
AWAY = [f"away{number}" for number in range(6)]
#: Online recipients: how long each lets the server wait for acknowledgements; None: for ever. In the midst of the
#: load the connection of "asleep" breaks, and "deaf" reads no more.
ONLINE: dict[str, float | None] = {
    "prompt0": 0.0, "slow0": 0.1, "slow1": 0.4, "never0": None, "deaf0": 0.0, "asleep0": 0.0,
}  # fmt: skip
#: The recipient without XEP-0198.
PLAIN = "plain0"
RECIPIENTS = [*AWAY, *ONLINE, PLAIN]
USERS = [*SENDERS, *RECIPIENTS]


@dataclass
class Scene:
    """The clients of one round, and the book they write."""

    book: Book
    senders: list[Sender]
    online: list[Client]
    #: Who is there during the load, and who receives at last.
    clients: list[Client] = field(init=False)
    recipients: list[Client] = field(init=False)

    def __post_init__(self) -> None:
        self.clients = [*self.online, *self.senders]
        self.recipients = [*self.online, *(Client(user, self.book) for user in AWAY)]


def enter(victim: Victim, name: str, window: int = 200) -> Scene:
    """Log everybody in who is online, and let the senders begin."""
    book = Book(name)
    online = [Client(user, book, delay=delay) for user, delay in ONLINE.items()]
    online.append(Client(PLAIN, book, managed=False))
    recipients = [recipient for pair in zip(AWAY, ONLINE, strict=True) for recipient in pair] + [PLAIN]
    scene = Scene(book, [Sender(user, book, recipients, window) for user in SENDERS], online)
    for client in scene.clients:
        client.connect(victim.port)
    return scene


def gather(victim: Victim, scene: Scene) -> float:
    """All recipients log in; returns the seconds until the first was in."""
    begin = time.monotonic()
    first = 0.0
    for client in scene.recipients:
        client.delay = 0.0
        if client.token:
            answer = client.comeBack(victim.port)
            assert answer == "item-not-found", answer
        else:
            client.connect(victim.port)
        first = first or time.monotonic() - begin
    return first


def collect(victim: Victim, scene: Scene, quiet: float = 1.5) -> float:
    """All recipients log in and take what there is; returns the seconds until the first was in."""
    first = gather(victim, scene)
    Loop(scene.recipients).run(_quiet(scene.book, scene.recipients, quiet), 20.0)
    for client in scene.recipients:
        client.quit()
    return first


def _quiet(book: Book, clients: list[Client], limit: float) -> Callable[[], bool]:
    """When nothing has come for a moment: a short one if nothing is missing, else a longer one."""
    state = [-1, time.monotonic(), 0.0]

    def quiet() -> bool:
        now = time.monotonic()
        heard = sum(client.heard for client in clients)
        if heard != state[0]:
            state[0], state[1] = heard, now
        since = now - state[1]
        return since > limit or (since > 0.12 and not book.missing())

    return quiet


@dataclass
class Round:
    """The figures of one round."""

    verdict: Verdict
    load: float
    restart: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.verdict} load={self.load:.2f}s restart-to-login={self.restart:.2f}s round={self.seconds:.1f}s"


def strain(scene: Scene, seconds: float, chance: random.Random) -> None:
    """The load; on the way one recipient's connection breaks, and one reads no more."""
    loop = Loop(scene.clients)
    named = {client.user: client for client in scene.online}
    changes = sorted((chance.uniform(seconds - 0.5, seconds), name) for name in ("deaf0", "asleep0"))
    begin = time.monotonic()
    for moment, name in changes:
        loop.pause(moment - (time.monotonic() - begin))
        if name == "asleep0":
            named[name].cut(reset=True)
        else:
            named[name].deaf = True
    loop.pause(seconds - (time.monotonic() - begin))


def leave(scene: Scene) -> None:
    """The server is dead. What it had told the senders counts as told; what was on its way to recipients is gone.

    Only the recipient without XEP-0198 reads on: for it "delivered" means that the kernel had the bytes.
    """
    for client in scene.online:
        if client.managed:
            client.drop()
    Loop(scene.clients).drain()


def killRound(victim: Victim, name: str, chance: random.Random, group: bool) -> Round:
    """Load, ``kill -9``, restart on the same data, collect, judge."""
    begin = time.monotonic()
    scene = enter(victim, name)
    load = chance.triangular(0.5, 2.0, 0.7)
    strain(scene, load, chance)
    victim.kill(group)
    leave(scene)
    restart = victim.start()
    restart += collect(victim, scene)
    return Round(scene.book.judge(), load, restart, time.monotonic() - begin)


def settle(book: Book, senders: list[Sender], loop: Loop) -> None:
    """The senders stop; everything is acknowledged, and what is under way arrives."""
    for sender in senders:
        sender.active = False
        sender.ask()
    loop.run(lambda: all(not sender.open for sender in senders), 10.0)
    loop.run(lambda: not book.missing(), 3.0, must=False)
    loop.pause(0.3)
