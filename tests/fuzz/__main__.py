"""``python -m tests.fuzz``: the long runs. ``server`` plays mutated sessions against a real process."""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
from pathlib import Path

from tests.fuzz.drive import Drive
from tests.fuzz.target import Target


def main() -> int:
    """Run what the arguments say; the exit status is 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("server", help="mutated sessions against a real server process")
    server.add_argument("--seed", type=int, default=1)
    server.add_argument("--count", type=int, default=100_000, help="clients")
    server.add_argument("--first", type=int, default=0, help="number of the first client")
    server.add_argument("--width", type=int, default=48, help="clients at the same time")
    server.add_argument("--limits", action="store_true", help="with the limits of an installation")
    server.add_argument("--folder", type=Path, help="where findings and probes go")
    arguments = parser.parse_args()
    return _server(arguments)


def _server(arguments: argparse.Namespace) -> int:
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="xmppservice-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="server-", dir=folder))
    # SIGTERM ends us as Ctrl-C does, so that the server is ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    target = Target(home, arguments.limits)
    try:
        drive = Drive(target, arguments.seed, folder, arguments.width, lambda text: print(text, flush=True))
        report = drive.run(arguments.first, arguments.count)
    finally:
        target.end()
    print(json.dumps({**vars(report), "probes": len(report.probes), "findings": len(report.findings)}))
    return 1 if report.findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
