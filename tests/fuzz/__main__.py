"""``make fuzz ARGS="COMMAND ..."``: the long runs. Findings go to a folder; if there are any, the exit status is 1."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.addresses import disagreements
from tests.fuzz.drive import Drive, Report, replay
from tests.fuzz.sessions import Script, script
from tests.fuzz.target import Target

Make = Callable[[int, int], Script]
GUIDED = ("parser", "jid", "sasl")


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where findings and figures go; a new one in the temporary folder")
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("server", help="mutated sessions against a real server process (F6)")
    server.add_argument("--seed", type=int, default=1)
    server.add_argument("--count", type=int, default=100_000, help="clients")
    server.add_argument("--first", type=int, default=0, help="number of the first client: --count 1 plays one again")
    server.add_argument("--width", type=int, default=48, help="clients at the same time")
    server.add_argument("--limits", action="store_true", help="with the limits of an installation")
    again = commands.add_parser("replay", help="findings that were saved, against a real server process")
    again.add_argument("files", type=Path, nargs="+")
    for name in GUIDED:
        guided = commands.add_parser(name, help="guided by coverage (F1, F2, F4, F8)")
        guided.add_argument("--minutes", type=float, default=5)
    commands.add_parser("addresses", help="all code points in each slot of an address (F4)")
    tests = commands.add_parser("tests", help="the tests of this folder with more and other examples (F1 to F8)")
    tests.add_argument("--times", type=int, default=20)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="xmppservice-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"findings go to {folder}", flush=True)
    return _run(arguments, folder)


def _run(arguments: argparse.Namespace, folder: Path) -> int:
    command = arguments.command
    if command == "server":
        return _server(arguments, folder)
    if command == "replay":
        files: list[Path] = arguments.files
        target = _target(folder, False)
        try:
            return _report(_drive(target, folder, lambda seed, number: replay(files[number])).run(0, len(files)))
        finally:
            target.end()
    if command == "addresses":
        problems = disagreements(range(0x110000))
        print("\n".join([*problems, f"{len(problems)} of 1,114,112 code points differ"]))
        return 1 if problems else 0
    if command == "tests":
        environment = os.environ | {"XMPPSERVICE_FUZZ_TIMES": str(arguments.times)}
        return subprocess.call([sys.executable, "-m", "pytest", "-q", "tests/fuzz"], env=environment)
    return subprocess.call([sys.executable, "-m", "tests.fuzz.guided", command, str(folder), str(arguments.minutes)])


def _target(folder: Path, limits: bool) -> Target:
    # SIGTERM ends us as Ctrl-C does, so that the server is ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return Target(Path(tempfile.mkdtemp(prefix="server-", dir=folder)), limits)


def _drive(target: Target, folder: Path, make: Make = script, seed: int = 0, width: int = 48) -> Drive:
    def say(text: str) -> None:
        print(text, flush=True)

    return Drive(target, seed, folder, width, say, make)


def _server(arguments: argparse.Namespace, folder: Path) -> int:
    target = _target(folder, arguments.limits)
    try:
        drive = _drive(target, folder, script, arguments.seed, arguments.width)
        return _report(drive.run(arguments.first, arguments.count))
    finally:
        target.end()


def _report(report: Report) -> int:
    print(json.dumps({**vars(report), "probes": len(report.probes), "findings": len(report.findings)}))
    return 1 if report.findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
