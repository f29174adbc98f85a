"""Runs the workloads against our own server, started here, or against one that runs already; prints the figures."""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import chat, component, durable, login, presence
from benchmarks.load.certificates import selfSigned
from benchmarks.load.crowd import RING, fillRosters
from benchmarks.load.dialogue import Target
from benchmarks.load.link import LoadError
from benchmarks.load.local import LocalServer
from benchmarks.load.place import DOMAIN, newPlace
from benchmarks.load.result import Result

#: The contacts of everybody; those of the presence ring have more.
CONTACTS = 20


@dataclass(frozen=True)
class Workload:
    """One line of the report: what runs, with TLS or not, and the users it needs."""

    run: Callable[[Target, int, argparse.Namespace], Result]
    tls: bool
    users: Callable[[argparse.Namespace], range]
    fresh: bool = False


def _pairs(options: argparse.Namespace) -> range:
    return range(2 * chat.PAIRS)


def _logins(options: argparse.Namespace) -> range:
    return range(options.logins)


def _sessions(options: argparse.Namespace) -> range:
    return range(options.sessions)


def _offline(options: argparse.Namespace) -> range:
    return range(durable.OFFLINE_FIRST + durable.OFFLINE_USERS)


def _ring(options: argparse.Namespace) -> range:
    return range(presence.FIRST, presence.FIRST + RING)


WORKLOADS: dict[str, Workload] = {
    "chat": Workload(lambda target, pid, o: chat.chat(target, pid, o.seconds), False, _pairs),
    "chat-tls": Workload(lambda target, pid, o: chat.chat(target, pid, o.seconds), True, _pairs),
    "rate": Workload(lambda target, pid, o: chat.rate(target, pid, o.seconds, o.rate), False, _pairs),
    "sm": Workload(lambda target, pid, o: durable.sm(target, pid, o.seconds), False, _pairs),
    "component": Workload(lambda target, pid, o: component.component(target, pid, o.seconds), False, _pairs),
    "component-from": Workload(lambda target, pid, o: component.componentFrom(target, pid, o.seconds), False, _pairs),
    "offline": Workload(lambda target, pid, o: durable.offline(target, pid, o.seconds), False, _offline),
    "presence": Workload(lambda target, pid, o: presence.presence(target, pid, o.seconds), False, _ring),
    "login": Workload(lambda target, pid, o: login.login(target, pid, o.logins), False, _logins),
    "login-tls": Workload(lambda target, pid, o: login.login(target, pid, o.logins), True, _logins),
    "idle": Workload(lambda target, pid, o: presence.idle(target, pid, o.sessions, o.hold), False, _sessions, True),
    "idle-tls": Workload(lambda target, pid, o: presence.idle(target, pid, o.sessions, o.hold), True, _sessions, True),
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--only", help=f"workloads, separated by commas: {','.join(WORKLOADS)}")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured time of each workload (%(default)s)")
    parser.add_argument("--rate", type=float, default=1000.0, help="messages a second of `rate` (%(default)s)")
    parser.add_argument("--logins", type=int, default=1000, help="users of `login` (%(default)s)")
    parser.add_argument("--sessions", type=int, default=5000, help="sessions of `idle`, at most 5000 (%(default)s)")
    parser.add_argument("--hold", type=float, default=10.0, help="seconds of silence in `idle` (%(default)s)")
    parser.add_argument("--tls-kind", choices=("starttls", "direct"), default="starttls")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--folder", type=Path, help="server's folder, kept; a second run finds users and rosters done")
    parser.add_argument(
        "--profile", type=Path, help="run our server under cProfile (twice as slow); statistics go there"
    )
    there = parser.add_argument_group("against a server that runs already, with users user0, user1, …")
    there.add_argument("--port", type=int, help="its port for plain and STARTTLS")
    there.add_argument("--tls-port", type=int, default=0, help="its port for direct TLS")
    there.add_argument("--server-pid", type=int, default=0, help="its process, for CPU time and memory")
    there.add_argument("--domain", default=DOMAIN)
    there.add_argument("--password", default="password")
    there.add_argument("--no-fill", action="store_true", help="leave the rosters as they are")
    options = parser.parse_args(arguments)
    # A server that runs already does not know the generator as its component.
    usual = [name for name in WORKLOADS if options.port is None or not name.startswith("component")]
    options.names = options.only.split(",") if options.only else usual
    if unknown := [name for name in options.names if name not in WORKLOADS]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    if options.sessions > presence.FIRST:
        parser.error(f"--sessions: at most {presence.FIRST}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if every workload ran and delivered everything exactly once, else 1."""
    options = parse(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            results, failed = _runAll(options, _server(options, stack))
    except LoadError as problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps([result.asDict() for result in results], indent=1) + "\n")
    return 1 if failed or any(result.problems for result in results) else 0


def _server(options: argparse.Namespace, stack: ExitStack) -> LocalServer | None:
    """Our own server, set up but not started; None if one runs already."""
    if options.port is not None:
        return None
    folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xmppservice-bench-")))
    (folder / "certs").mkdir(parents=True, exist_ok=True)
    place = newPlace(folder.resolve(), selfSigned(folder.resolve() / "certs", DOMAIN))
    server = LocalServer(place, options.password, options.profile and options.profile.resolve())
    stack.callback(server.stop)
    start = time.perf_counter()
    new = server.importUsers(usersOf(options))
    print(f"{new} users imported in {time.perf_counter() - start:.1f} s", flush=True)
    return server


def usersOf(options: argparse.Namespace) -> list[int]:
    """The users that the chosen workloads need, whole rings."""
    wanted = {number // RING for name in options.names for number in WORKLOADS[name].users(options)}
    return [ring * RING + place for ring in sorted(wanted) for place in range(RING)]


def _target(options: argparse.Namespace, server: LocalServer | None, tls: bool) -> Target:
    port, tlsPort = (server.place.port, server.place.tlsPort) if server else (options.port, options.tls_port)
    service = server.place.service if server else None
    kind = options.tls_kind if tls else "none"
    return Target("127.0.0.1", port, tlsPort, options.domain, options.password, kind, service=service)


def _runAll(options: argparse.Namespace, server: LocalServer | None) -> tuple[list[Result], int]:
    """Fill rosters, run each workload, print; (results, how many broke off)."""
    if server:
        server.start()
    if not options.no_fill:
        start = time.perf_counter()
        made = _fill(options, _target(options, server, False))
        print(f"{made} subscriptions made in {time.perf_counter() - start:.1f} s", flush=True)
    results, failed = [], 0
    for name in options.names:
        work = WORKLOADS[name]
        if server and work.fresh:
            server.stop()
            server.start()
        try:
            result = work.run(_target(options, server, work.tls), server.pid if server else options.server_pid, options)
        except LoadError as problem:
            failed += 1
            print(f"{name:9} FAILED: {problem}", flush=True)
            continue
        result.workload = name
        results.append(result)
        print("\n".join(result.lines()), flush=True)
    return results, failed


def _fill(options: argparse.Namespace, target: Target) -> int:
    """Fill the rosters of all rings in use."""
    made = 0
    for first in sorted({number - number % RING for number in usersOf(options)}):
        made += fillRosters(target, first, presence.CONTACTS if first == presence.FIRST else CONTACTS)
    return made


if __name__ == "__main__":
    sys.exit(main())
