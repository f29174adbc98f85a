"""Under load: the writer process is killed, the server is stopped with SIGTERM."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.chaos import victim as builds
from tests.chaos.client import Client, Loop
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
    scene, stopped = _stop(build, chance)
    assert not _impolite(scene), _impolite(scene)
    build.start()
    collect(build, scene)
    verdict = scene.book.judge()
    say(f"SIGTERM: {verdict}; stopped within {stopped:.2f} s\n")
    assert verdict.clean, verdict
    assert stopped < STOP_WITHIN
    assert "Traceback" not in build.log, build.log[-4000:]


def _stop(build: Victim, chance: random.Random) -> tuple[Scene, float]:
    """Load, one client that reads nothing, SIGTERM; the seconds until the process had ended, with status 0."""
    scene = enter(build, "t")
    loop = Loop(scene.clients)
    loop.pause(chance.uniform(0.4, 0.8))
    deaf = _deafen(scene, loop)
    begin = time.monotonic()
    build.terminate()
    loop.run(lambda: all(client.sock is None or client.deaf for client in scene.clients), STOP_WITHIN)
    assert build.wait(STOP_WITHIN) == 0
    stopped = time.monotonic() - begin
    for client in scene.clients:
        client.gone()
    deaf.drop()
    return scene, stopped


def _deafen(scene: Scene, loop: Loop) -> Client:
    """One recipient reads no more; the server's buffers for it fill."""
    deaf = next(client for client in scene.online if client.user == "deaf0")
    deaf.deaf = True
    loop.pause(0.2)
    return deaf


def _impolite(scene: Scene) -> list[tuple[str, str, str]]:
    """To whom the server did not say what it should have; the one that acknowledges nothing may have gone before."""
    return [
        (client.user, client.ended, client.lastWord)
        for client in scene.clients
        if not client.deaf
        and not (client.user == "never0" and client.ended == "resource-constraint")
        and (client.ended != "system-shutdown" or (client.managed and client.lastWord != "a"))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("build", [{"sabotage": builds.NO_LAST_WORD}], indirect=True)
def test_silentEndIsFoundOut(build: Victim, chance: random.Random, say: Say) -> None:
    """R23: a build that ends streams without a last acknowledgement is seen to be impolite."""
    scene, _ = _stop(build, chance)
    impolite = _impolite(scene)
    say(f"sabotaged, SIGTERM: {len(impolite)} of {len(scene.clients)} clients were not told how much was taken\n")
    assert impolite


@pytest.mark.slow
def test_secondSignal(build: Victim, chance: random.Random, say: Say) -> None:
    """R23: a second SIGTERM does not wait for a client that reads nothing: the process ends at once, with status 1,
    and what was acknowledged is there."""
    scene = enter(build, "u")
    loop = Loop(scene.clients)
    loop.pause(chance.uniform(0.4, 0.8))
    deaf = _deafen(scene, loop)
    os.kill(build.writer, signal.SIGSTOP)
    writer = build.writer
    build.terminate()
    loop.pause(0.5)
    assert build.running, "it did not wait for what was not committed"
    begin = time.monotonic()
    build.terminate()
    try:
        assert build.wait(STOP_WITHIN) == 1
        ended = time.monotonic() - begin
    finally:
        os.kill(writer, signal.SIGCONT)
    deaf.drop()
    loop.drain()
    build.start()
    collect(build, scene)
    verdict = scene.book.judge()
    say(f"second SIGTERM: ended within {ended:.2f} s; {verdict}\n")
    assert verdict.clean, verdict
