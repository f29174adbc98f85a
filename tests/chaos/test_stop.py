"""Under load: the writer process is killed, the server is stopped with SIGTERM."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.chaos.client import Loop
from tests.chaos.conftest import Say
from tests.chaos.rounds import Scene, collect, enter
from tests.chaos.victim import Victim

#: How often the writer is killed, and how long the server has to stop.
WRITER_KILLS = 5
STOP_WITHIN = 10.0


@pytest.mark.slow
def test_writerKilled(build: Victim, chance: random.Random, say: Say) -> None:
    """The server survives the death of its writer: it goes on where that stopped, and loses nothing."""
    scene = enter(build, "w")
    loop = Loop(scene.clients)
    waits = []
    for _ in range(WRITER_KILLS):
        loop.pause(chance.uniform(0.1, 0.4))
        victim = build.writer
        os.kill(victim, signal.SIGKILL)
        acked, begin = len(scene.book.acked), time.monotonic()
        loop.run(lambda: build.writer not in (0, victim) and len(scene.book.acked) > acked + 2000, 10.0)  # noqa: B023
        waits.append(time.monotonic() - begin)
    assert build.running
    _finish(scene, loop)
    build.terminate()
    assert build.wait(STOP_WITHIN) == 0
    loop.drain()
    build.start()
    collect(build, scene)
    verdict = scene.book.judge()
    say(f"writer killed {WRITER_KILLS} times: {verdict}; acknowledging again within {max(waits):.2f} s\n")
    assert verdict.clean, verdict
    assert verdict.acked == verdict.sent


def _finish(scene: Scene, loop: Loop) -> None:
    """The senders stop, and get everything acknowledged."""
    for sender in scene.senders:
        sender.active = False
        sender.ask()
    loop.run(lambda: all(not sender.open for sender in scene.senders), 10.0)


@pytest.mark.slow
def test_stoppedUnderLoad(build: Victim, chance: random.Random, say: Say) -> None:
    """SIGTERM: everybody gets a last acknowledgement and ``system-shutdown``; exit status 0 within 10 s.

    One client reads nothing: the server does not wait for it longer than that.
    """
    scene = enter(build, "t")
    loop = Loop(scene.clients)
    loop.pause(chance.uniform(0.4, 0.8))
    deaf = next(client for client in scene.online if client.user == "deaf0")
    deaf.deaf = True
    loop.pause(0.2)
    begin = time.monotonic()
    build.terminate()
    loop.run(lambda: all(client.sock is None or client.deaf for client in scene.clients), STOP_WITHIN)
    assert build.wait(STOP_WITHIN) == 0
    stopped = time.monotonic() - begin
    for client in scene.clients:
        if client is not deaf and not (client.user == "never0" and client.ended == "resource-constraint"):
            assert client.ended == "system-shutdown", (client.user, client.ended)
            assert not client.managed or client.lastWord == "a", (client.user, client.lastWord)
        client.gone()
    deaf.drop()
    build.start()
    collect(build, scene)
    verdict = scene.book.judge()
    say(f"SIGTERM: {verdict}; stopped within {stopped:.2f} s\n")
    assert verdict.clean, verdict
    assert stopped < STOP_WITHIN
    assert "Traceback" not in build.log, build.log[-4000:]
