"""What the rest of the server gets from a configuration: plain frozen data, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import attrs

from xmppservice.hub.options import describeOptions, dottedKey
from xmppservice.settings.sections import S2S, TLS, Auth, Database, Limits, Listen, Log

_Options = TypeVar("_Options")

RELOADABLE = ("tls", "auth", "s2s", "limits", "log", "hosts", "modules", "ports")
"""What a reload applies; the rest needs a restart."""


class SettingsError(Exception):
    """The configuration cannot be used; the text is one line for the operator: ``file:line: key: what is wrong``."""


@attrs.frozen
class Overrides:
    """What the command line sets over the file."""

    domains: tuple[str, ...] = ()
    data: str | None = None
    c2s: tuple[str, ...] = ()
    c2sTls: tuple[str, ...] = ()


@attrs.frozen
class HostSettings:
    """One virtual host.

    @ivar domain: its name, in normal form.
    @ivar enabled: names of its modules: the default set and what ``enable`` and ``disable`` made of it.
    @ivar options: module → an instance of its options class, for each module that has one and is enabled or has
        a table.
    """

    domain: str
    enabled: tuple[str, ...] = ()
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def of(self, module: str, cls: type[_Options]) -> _Options:
        """The options of a module on this host, the defaults if nothing was said."""
        found = self.options.get(module)
        return cast(_Options, found) if found is not None else cls()


@attrs.frozen
class PortSettings:
    """An address that something other than accounts owns.

    @ivar options: the keys that belong to its kind, unchecked.
    """

    domain: str
    kind: str
    secretFile: str = ""
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Differences:
    """What changed between two configurations, as dotted keys."""

    runtime: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.runtime or self.restart)


def controlSocket(data: str) -> str:
    """The control socket of a server that keeps its things in the folder `data`."""
    return os.path.join(data, "control.sock")


@attrs.frozen
class Settings:
    """A whole configuration.

    @ivar files: the files it was read from, the main one first; empty for the development server.
    @ivar folder: where relative paths start.
    @ivar warnings: what is odd but no error, one line each, for the log.
    @ivar development: it was made by `developmentSettings`.
    """

    files: tuple[str, ...]
    folder: str
    data: str
    database: Database
    listen: Listen
    tls: TLS
    auth: Auth
    s2s: S2S
    limits: Limits
    log: Log
    hosts: Mapping[str, HostSettings]
    ports: Mapping[str, PortSettings]
    warnings: tuple[str, ...] = ()
    development: bool = False

    @property
    def controlSocket(self) -> str:
        """The unix socket by which xmppctl talks to the running server."""
        return controlSocket(self.data)

    @property
    def federates(self) -> bool:
        """Whether the server talks to others."""
        return bool(self.listen.s2s or self.listen.s2sTls)

    @property
    def inMemory(self) -> bool:
        """Whether everything stored is forgotten at the end."""
        return self.database.url == "sqlite-memory"

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms that may be offered, ANONYMOUS included if it is on."""
        return (*self.auth.mechanisms, *(("ANONYMOUS",) if self.auth.anonymous else ()))

    def differences(self, other: Settings) -> Differences:
        """What another configuration changes, and whether a reload can apply it or it needs a restart.

        Hosts and modules are named one by one (``hosts."example.com"``), other sections by key.
        """
        changed: dict[bool, list[str]] = {True: [], False: []}
        for name in ("data", "database", "listen", "tls", "auth", "s2s", "limits", "log"):
            mine, theirs = getattr(self, name), getattr(other, name)
            changed[name in RELOADABLE] += _changes(name, mine, theirs)
        for name in ("hosts", "ports"):
            mine, theirs = getattr(self, name), getattr(other, name)
            keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
            changed[name in RELOADABLE] += [dottedKey((name, key)) for key in keys]
        return Differences(tuple(changed[True]), tuple(changed[False]))


def _changes(section: str, mine: Any, theirs: Any) -> list[str]:
    if mine == theirs:
        return []
    if not attrs.has(type(mine)):
        return [section]
    return [
        dottedKey((section, entry.key))
        for entry in describeOptions(type(mine))
        if getattr(mine, entry.attribute) != getattr(theirs, entry.attribute)
    ]
