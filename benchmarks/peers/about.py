"""What a reader has to know to judge the figures: versions, machine, noise."""

import argparse
import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import debian
from benchmarks.peers.table import Row
from xmppservice import __version__


def facts(options: argparse.Namespace) -> dict[str, str]:
    """Versions, the machine and the run's options."""
    found = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "xmppservice": f"{__version__}, Python {platform.python_version()}, Twisted {version('Twisted')}",
        "kernel": platform.release(),
        "processors": f"{len(os.sched_getaffinity(0))} × {_model()}",
        "options": f"passes {options.passes}, {options.seconds:g} s a workload, {options.logins} logins, "
        f"{options.sessions} idle sessions, {options.contacts} contacts, modules {options.modules}",
    }
    for package in ("prosody", "lua5.4", "ejabberd", "erlang-base"):
        if number := debian.version(package):
            found[package] = number
    return found


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def lines(known: dict[str, str], rows: Sequence[Row]) -> list[str]:
    """The facts, and how quiet the machine was."""
    times = [float(str(value)) for row in rows for value in _pair(row.get("calibrationMs"))]
    made = [f"{key}: {value}" for key, value in known.items()]
    if times:
        made.append(f"calibration: {min(times):.0f} to {max(times):.0f} ms, load {_most(rows, 'load'):.1f} at most")
    made.append(f"servers not measured: {_most(rows, 'othersCores'):.3f} cores together at most")
    made += [f"{row['server']}, {row['workload']}: {problem}" for row in rows for problem in _problems(row)]
    return made


def _pair(value: object) -> Sequence[object]:
    return value if isinstance(value, (tuple, list)) else ()


def _most(rows: Sequence[Row], key: str) -> float:
    return max((float(str(row.get(key, 0.0))) for row in rows), default=0.0)


def _problems(row: Row) -> list[str]:
    found = row.get("problems", [])
    assert isinstance(found, list)
    return [" ".join(str(problem).split())[:300] for problem in found[:3]]


def progress(row: Row, quiet: float) -> str:
    """One run as it ends, in one line."""
    head = f"  {row['workload']:9} {row['server']:15}"
    problems = "".join(f"\n    PROBLEM: {problem}" for problem in _problems(row))
    if "serverMicros" not in row:
        return head + problems
    busy = float(str(row["othersCores"]))
    noise = f"  others busy: {busy:.3f} cores" if busy > quiet else ""
    text = f"{float(str(row['serverMicros'])):9.1f} us/{row['unit']} {float(str(row['perSecond'])):9.0f}/s"
    extra = row["extra"]
    if isinstance(extra, dict) and "rssKiB" in extra:
        text += f" {extra['rssKiB'] + extra['writerRssKiB']:7.1f} KiB"
    return head + text + noise + problems
