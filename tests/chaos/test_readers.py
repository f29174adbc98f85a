"""Recipients that read slowly or not at all, under load (hardening R16, D04)."""

from __future__ import annotations

import time

import pytest

from tests.chaos.book import Book
from tests.chaos.canary import Canary
from tests.chaos.client import Client, Loop, Sender
from tests.chaos.conftest import LONG, Say
from tests.chaos.rounds import SENDERS
from tests.chaos.victim import Victim

#: Who reads nothing, who reads a little now and then, and what the load is.
STUCK = [f"stuck{number}" for number in range(200 if LONG else 20)]
SLOW = [f"slow{number}" for number in range(4)]
MESSAGES = len(STUCK) * 250
PAD = f"<x xmlns='urn:example:pad'>{'x' * 8000}</x>"
#: Bytes of one slow read, and the pause behind it.
BITE, PAUSE = 16_384, 0.05
#: What may wait for one client: unread (the default of the limits) and unacknowledged; and room for everything else.
CAP, ROOM = (256 << 10) + (128 << 10), 20 << 20
BOUND = (len(STUCK) + len(SLOW)) * CAP + ROOM
RESPONSIVE = 5.0

USERS = [*STUCK, *SLOW, *SENDERS[:2], "canary"]
CONFIG = {"users": USERS, "more": '[modules.stream_management]\nqueue_size = "128 KiB"'}
#: A build without these limits.
NO_LIMIT = (
    "from xmppservice.edge import writer; "
    "writer.unsent = lambda connection: 0; "
    "from xmppservice.protocol.stream.resume import ResumeQueue; ResumeQueue.full = False; "
)


class Padded(Sender):
    """Its messages are large."""

    def message(self, recipient: str, resource: str = "", more: str = "") -> bytes:
        """See `Client.message`."""
        if len(self.book.sent) >= MESSAGES:
            self.active = False
        return super().message(recipient, resource, PAD)


class Crowd:
    """Readers of every kind, and senders who care for none of them."""

    def __init__(self, build: Victim) -> None:
        self.build = build
        self.book = Book("r")
        self.stuck = [Client(user, self.book) for user in STUCK]
        self.slow = [Client(user, self.book) for user in SLOW]
        self.canary = Canary("canary")
        self.senders = [Padded(user, self.book, [*STUCK, *SLOW], 100) for user in SENDERS[:2]]
        for client in (*self.stuck, *self.slow, self.canary, *self.senders):
            client.connect(build.port)
        self.loop = Loop([*self.slow, self.canary, *self.senders])

    def load(self) -> int:
        """All messages are sent and acknowledged while nobody, or nearly nobody, reads; by how much the server grew."""
        for client in (*self.stuck, *self.slow):
            client.deaf = True
        before, grown = self.build.memory, 0
        deadline = time.monotonic() + 60.0
        while any(sender.active or sender.open for sender in self.senders):
            assert time.monotonic() < deadline, "the senders are held up"
            for sender in self.senders:
                if not sender.active:
                    sender.ask()
            self._bite()
            grown = max(grown, self.build.memory - before)
        return grown

    def _bite(self) -> None:
        for client in self.slow:
            client.deaf = False
        self.loop.pause(0.002)
        for client in self.slow:
            client.deaf = True
        self.loop.pause(PAUSE)

    def comeBack(self) -> None:
        """The stuck ones come again, and take what there is."""
        for client in self.stuck:
            client.drop()
            client.connect(self.build.port)
        for client in self.slow:
            client.deaf = False
            if client.sock is None:
                client.connect(self.build.port)
        self.loop.clients = [*self.loop.clients, *self.stuck]
        self.loop.run(lambda: not self.book.missing(), 60.0, must=False)
        self.loop.pause(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("build", [CONFIG], indirect=True)
def test_stuckReaders(build: Victim, say: Say) -> None:
    """R16: who reads nothing costs a bounded number of bytes and hinders nobody; back again he finds all of it."""
    crowd = Crowd(build)
    grown = crowd.load()
    canary = crowd.canary
    crowd.comeBack()
    verdict = crowd.book.judge()
    size = verdict.sent * len(PAD) / 2**20
    say(f"{len(STUCK)} stuck and {len(SLOW)} slow readers, {size:.0f} MiB for them: {verdict};"
        f" grown {grown / 2**20:.1f} MiB; {canary}\n")  # fmt: skip
    assert grown < BOUND
    assert not verdict.lost, verdict.lost[:20]
    assert not verdict.forged, verdict.forged[:20]
    assert canary.silence < RESPONSIVE
    assert "Traceback" not in build.log, build.log[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("build", [{**CONFIG, "sabotage": NO_LIMIT}], indirect=True)
def test_noLimitIsFoundOut(build: Victim, say: Say) -> None:
    """R16: a build that keeps everything for who does not read is seen to grow."""
    grown = Crowd(build).load()
    say(f"sabotaged, {len(STUCK)} stuck readers: grown {grown / 2**20:.1f} MiB, allowed are {BOUND / 2**20:.1f}\n")
    assert grown >= BOUND
