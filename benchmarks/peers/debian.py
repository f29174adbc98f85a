"""Debian's packages of the other servers: installed if missing, never started as services; what their versions are."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load.link import LoadError

#: The servers, and what they need to keep something in SQLite.
PACKAGES = ("prosody", "lua-dbi-sqlite3", "ejabberd", "erlang-p1-sqlite3")

_POLICY = Path("/usr/sbin/policy-rc.d")
#: What invoke-rc.d takes for "do not start this service".
_REFUSE = "#!/bin/sh\nexit 101\n"


def version(package: str) -> str:
    """The installed version, or nothing."""
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    status, _, number = done.stdout.partition(" ")
    return number if status == "installed" else ""


def install(packages: Sequence[str] = PACKAGES) -> list[str]:
    """Install what is missing and return its names; `LoadError` says what to do if that is not possible."""
    missing = [name for name in packages if not version(name)]
    if not missing:
        return []
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    advice = f"run as root: apt-get update; {' '.join(command)}"
    if os.geteuid() != 0:
        raise LoadError(f"{', '.join(missing)}: not installed; {advice}")
    with _noServices():
        try:
            done = subprocess.run(
                command,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=900,
            )
        except OSError as problem:
            raise LoadError(f"{', '.join(missing)}: not installed, and there is no apt-get: {problem}") from problem
    if done.returncode:
        raise LoadError(f"{done.stderr[-1000:]}\n{', '.join(missing)}: not installed; {advice}")
    return missing


@contextmanager
def _noServices() -> Iterator[None]:
    """Packages do not start their services meanwhile; a policy of the machine's own stays as it is."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_REFUSE)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
