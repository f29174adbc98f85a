"""Reading configuration files: which one, its parts in ``conf.d``, messages with file and line, permissions."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from xmppservice.hub.options import OptionError
from xmppservice.protocol.jid import InvalidJID, prepareDomain
from xmppservice.settings.build import Context, Modules, build, checkEndpoint
from xmppservice.settings.location import locate
from xmppservice.settings.model import Overrides, Settings, SettingsError
from xmppservice.settings.sections import Main

SYSTEM_FILE = "/etc/xmppservice/xmppservice.toml"
LOCAL_FILE = "xmppservice.toml"
ENVIRONMENT = "XMPPSERVICE_CONFIG"
DEVELOPMENT_FOLDER = "var"
_NO_OVERRIDES = Overrides()


@attrs.frozen
class Found:
    """The configuration that holds here: a file, or the development server of a folder."""

    file: str | None = None
    folder: str | None = None

    def __str__(self) -> str:
        return self.file or f"the development server in {self.folder}"


@attrs.frozen
class _Source:
    """One file: its path as the operator knows it, its text and its tables."""

    path: str
    text: str
    table: dict[str, Any]


def discover(given: str | None, environ: Mapping[str, str], folder: str) -> Found | None:
    """Find the configuration: what was given, ``XMPPSERVICE_CONFIG``, ``./xmppservice.toml``, the development server
    of this folder, the system's file; None if there is none of them.
    """
    for named in (given, environ.get(ENVIRONMENT)):
        if named:
            return Found(file=os.path.join(folder, named))
    if os.path.exists(os.path.join(folder, LOCAL_FILE)):
        return Found(file=os.path.join(folder, LOCAL_FILE))
    if _isDevelopmentFolder(folder):
        return Found(folder=folder)
    return Found(file=SYSTEM_FILE) if os.path.exists(SYSTEM_FILE) else None


def _isDevelopmentFolder(folder: str) -> bool:
    """A server ran here without configuration, or this is the project's own folder where `make run` will start one."""
    if os.path.isfile(os.path.join(folder, "xmppservice", "tap.py")):
        return True
    return os.path.isdir(os.path.join(folder, DEVELOPMENT_FOLDER, "certs"))


def settingsFor(
    found: Found, modules: Modules, defaults: Sequence[str] = (), overrides: Overrides = _NO_OVERRIDES
) -> Settings:
    """The settings of a discovered configuration.

    @raise SettingsError: it cannot be used.
    """
    if found.file is not None:
        return loadSettings(found.file, modules, defaults, overrides)
    return developmentSettings(found.folder or ".", modules, defaults, overrides)


def loadSettings(
    path: str, modules: Modules, defaults: Sequence[str] = (), overrides: Overrides = _NO_OVERRIDES
) -> Settings:
    """Read a configuration file and ``conf.d/*.toml`` beside it, later files over earlier ones.

    @param modules: module name → options class, None if it has none.
    @param defaults: names of the modules that every host has.
    @raise SettingsError: with file, line and key.
    """
    sources = [_read(name) for name in _paths(path)]
    table: dict[str, Any] = {}
    for source in sources:
        _merge(table, source.table)
    folder = os.path.dirname(os.path.abspath(path))
    _override(table, overrides)
    try:
        settings = build(table, Context(folder, modules, defaults), tuple(source.path for source in sources))
        _checkPermissions(settings)
    except OptionError as error:
        raise SettingsError(_message(error, sources)) from None
    return attrs.evolve(settings, warnings=settings.warnings + _secretInURL(settings))


def developmentSettings(
    folder: str, modules: Modules, defaults: Sequence[str] = (), overrides: Overrides = _NO_OVERRIDES
) -> Settings:
    """What runs without a configuration file: the host localhost on loopback, everything under ``var`` of the folder.

    @raise SettingsError: an override is wrong, or a key is readable by everyone.
    """
    folder = os.path.abspath(folder)
    hosts: dict[str, Any] = {} if overrides.domains else {"localhost": {}}
    table: dict[str, Any] = {"data": DEVELOPMENT_FOLDER, "hosts": hosts}
    _override(table, overrides)
    # As data may be moved by an override, the certificates go with it.
    table["tls"] = {"certificates": os.path.join(table["data"], "certs"), "development_certificates": True}
    try:
        settings = build(table, Context(folder, modules, defaults))
        _checkPermissions(settings)
    except OptionError as error:
        raise SettingsError(str(error)) from None
    return attrs.evolve(settings, development=True)


def dataFolder(found: Found, given: str | None = None) -> str | None:
    """The data folder of a configuration that may be wrong elsewhere, `given` in place of its own; None if it cannot
    be told.
    """
    if given is not None or found.file is None:
        return os.path.abspath(given or os.path.join(found.folder or ".", DEVELOPMENT_FOLDER))
    data: Any = Main().data
    try:
        for path in _paths(found.file):
            data = _read(path).table.get("data", data)
    except SettingsError:
        return None
    return os.path.join(os.path.dirname(os.path.abspath(found.file)), data) if isinstance(data, str) else None


def _paths(path: str) -> list[str]:
    extra = os.path.join(os.path.dirname(path), "conf.d")
    names = sorted(os.listdir(extra)) if os.path.isdir(extra) else []
    return [path, *(os.path.join(extra, name) for name in names if name.endswith(".toml"))]


def _read(path: str) -> _Source:
    try:
        with open(path, "rb") as stream:
            text = stream.read().decode("utf-8")
        return _Source(path, text, tomllib.loads(text))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        problem = str(error)
        found = re.search(r" \(at line (\d+), column (\d+)\)$", problem)
        line = found[1] if found else str(len(text.splitlines()) or 1)
        problem = re.sub(r" \(at [^()]*\)$", "", problem)
        raise SettingsError(f"{path}:{line}: is no TOML: {problem}") from None


def _merge(target: dict[str, Any], table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif isinstance(value, dict):
            target[key] = {}
            _merge(target[key], value)
        else:
            target[key] = value


def _override(table: dict[str, Any], overrides: Overrides) -> None:
    if overrides.data is not None:
        table["data"] = os.path.abspath(overrides.data)
    for domain in overrides.domains:
        try:
            prepareDomain(domain)
        except InvalidJID:
            raise SettingsError(f"--domain: {domain!r} is no domain") from None
        hosts = table.setdefault("hosts", {})
        if isinstance(hosts, dict):
            hosts.setdefault(domain, {})
    for key, endpoints, flag in (("c2s", overrides.c2s, "--c2s"), ("c2s_tls", overrides.c2sTls, "--c2s-tls")):
        for endpoint in endpoints:
            try:
                checkEndpoint(endpoint, (flag,))
            except OptionError as error:
                raise SettingsError(str(error)) from None
        if endpoints and isinstance(table.setdefault("listen", {}), dict):
            table["listen"][key] = list(endpoints)


def _message(error: OptionError, sources: Sequence[_Source]) -> str:
    """``file:line: key: what is wrong``; the file that set the key last is the one to blame."""
    best: tuple[int, _Source] = (-1, sources[0])
    for source in sources:
        depth = _depth(source.table, error.path)
        if depth >= best[0] and depth:
            best = (depth, source)
    source = best[1]
    line = locate(source.text, error.path)
    return f"{source.path}:{line}: {error}" if line is not None else f"{source.path}: {error}"


def complaint(settings: Settings, path: tuple[str, ...], problem: str) -> SettingsError:
    """What is wrong with a key of settings that were read before, with the place where it stands."""
    error = OptionError(path, problem)
    try:
        sources = [_read(name) for name in settings.files]
    except SettingsError:
        sources = []
    return SettingsError(_message(error, sources) if sources else str(error))


def _depth(table: Any, path: tuple[str, ...]) -> int:
    depth = 0
    while depth < len(path) and isinstance(table, dict) and path[depth] in table:
        table = table[path[depth]]
        depth += 1
    return depth


def worldReadable(path: str) -> bool:
    """Whether every user of the machine may read a file; one that is not there is readable by nobody."""
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return False


def _checkPermissions(settings: Settings) -> None:
    """Refuse keys and secrets that everyone may read."""
    for domain in settings.hosts:
        key = os.path.join(settings.tls.certificates, f"{domain}.key")
        if worldReadable(key):
            raise OptionError(("tls", "certificates"), f"everyone may read the key {key}; mend it: chmod 600 {key}")
    for domain, port in settings.ports.items():
        if port.secretFile and worldReadable(port.secretFile):
            path, problem = ("ports", domain, "secret_file"), f"everyone may read {port.secretFile}; mend it: chmod 600"
            raise OptionError(path, f"{problem} {port.secretFile}")


def _secretInURL(settings: Settings) -> tuple[str, ...]:
    if re.match(r"postgresql[^:]*://[^/@]*:[^/@]+@", settings.database.url):
        return tuple(
            f"{path} holds a password and everyone may read it: chmod 600 {path}"
            for path in settings.files
            if worldReadable(path)
        )
    return ()
