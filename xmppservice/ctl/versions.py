"""Versions of the libraries that matter for safety, judged for ``xmppctl check``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from cryptography.hazmat.backends.openssl import backend

from xmppservice.ctl.findings import ERROR, OK, WARNING, Finding
from xmppservice.wire import parser

TWISTED = (26, 10)
EXPAT = (2, 7, 2)
OPENSSL = (3, 0)
_PACKAGES = ("SQLAlchemy", "cryptography", "pyOpenSSL", "service-identity", "zope.interface", "precis-i18n", "idna")


def libraryFindings() -> Iterator[Finding]:
    """One finding per library."""
    yield Finding(OK, f"library: Python {sys.version.split()[0]}")
    yield judge("Twisted", _installed("Twisted"), TWISTED, ERROR, "pip install --upgrade 'Twisted>=26.10'")
    # Guarded against by our own limits, so older ones only get a warning (CVE-2025-59375).
    mend = "upgrade Python or libexpat; the server's own limits hold meanwhile"
    yield judge("expat", expatVersion(), EXPAT, WARNING, mend)
    yield judge("OpenSSL", backend.openssl_version_text(), OPENSSL, ERROR, "pip install --upgrade cryptography")
    for name in _PACKAGES:
        found = _installed(name)
        missing = Finding(ERROR, f"library: {name} is missing", f"pip install {name}")
        yield Finding(OK, f"library: {name} {found}") if found else missing


def judge(name: str, found: str, least: tuple[int, ...], level: str, mend: str) -> Finding:
    """A finding for a version, which may have words around its numbers."""
    match = re.search(r"\d+(?:\.\d+)+", found)
    if match is None:
        return Finding(WARNING, f"library: the version of {name} is unknown ({found or 'not installed'})", mend)
    numbers = tuple(int(part) for part in match[0].split("."))
    if numbers < least:
        return Finding(level, f"library: {name} {match[0]} is older than {'.'.join(map(str, least))}", mend)
    return Finding(OK, f"library: {name} {match[0]}")


def expatVersion() -> str:
    """The version of the XML parser under `xmppservice.wire.parser`, which alone may import it."""
    return str(getattr(sys.modules.get("pyexpat"), "EXPAT_VERSION", "")) if parser else ""


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
