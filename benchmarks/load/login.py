"""Complete logins, one after another on a fixed number of lanes."""

import time
from collections.abc import Callable, Iterator

from benchmarks.load.crowd import CONCURRENT, RING, Crowd, crowd
from benchmarks.load.dialogue import Session, Target
from benchmarks.load.result import Result, Watch


def _order(users: int) -> Iterator[int]:
    """All users, such that no two contacts are online together: what is measured is logging in, not presence.

    Neighbours in this order stand in different rings, or 11 and more places apart in the same one.
    """
    rings = max(1, users // RING)
    for step in range(RING):
        for ring in range(rings):
            number = ring * RING + step * 37 % RING
            if number < users:
                yield number


def login(target: Target, pid: int, users: int = 1000) -> Result:
    """Each of ``users``: connect, TLS, SCRAM-SHA-1, bind, roster, presence, close; 32 at a time."""
    with crowd(target) as people:
        # The first round is not measured: the client derives its SCRAM keys in it.
        _round(people, _order(users), [])
    samples: list[float] = []
    with crowd(target) as people:
        watch = Watch(pid)
        watch.start()
        _round(people, _order(users), samples)
        watch.stop()
    problems = [] if len(samples) == users else [f"{len(samples)} of {users} logins"]
    return watch.fill(Result("login", target.tls, "login", problems=problems), len(samples), samples)


def _round(people: Crowd, numbers: Iterator[int], samples: list[float]) -> None:
    """Log every user in and out; ``samples`` gets the seconds until each was online."""

    def begin(session: Session, done: Callable[[Session], None]) -> None:
        start = time.perf_counter()

        def online(session: Session) -> None:
            samples.append(time.perf_counter() - start)
            session.end(done)

        session.start(online)

    people.each((people.session(n) for n in numbers), begin, lambda session: None, 300.0, CONCURRENT)
