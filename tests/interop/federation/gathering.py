"""Starting a peer once for a module, and our server once for each way of proving who one is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.interop.federation.meeting import Meeting, Side, World
from tests.interop.federation.own import OwnSide

#: A world by its way.
Gathering = dict[str, World]


@contextlib.contextmanager
def gathering(folder: Path, ways: tuple[str, ...], makePeer: Callable[[Meeting], Side]) -> Iterator[Gathering]:
    """A peer that runs, and a world for each way, in which our server is not yet started."""
    meeting = Meeting(folder)
    owns = {way: OwnSide(meeting, way) for way in ways}
    peer = makePeer(meeting)
    with meeting.open():
        try:
            peer.start()
            yield {way: World(way, own, peer) for way, own in owns.items()}
            peer.stop()
        finally:
            peer.kill()


@contextlib.contextmanager
def running(world: World) -> Iterator[World]:
    """Our server runs meanwhile, and ends without a complaint."""
    try:
        world.own.start()
        yield world
        world.own.stop()
    finally:
        world.own.kill()
