"""From merged TOML tables to `Settings`: every key checked, none left over."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

from xmppservice.hub.loader import ModuleError
from xmppservice.hub.options import OptionError, closest, describeOptions, optionKey, parseOptions, parseValues
from xmppservice.protocol.jid import InvalidJID, prepareDomain
from xmppservice.settings.model import HostSettings, PortSettings, Settings
from xmppservice.settings.sections import SECTIONS, HostKeys, Listen, Main, PortKeys

Modules = Mapping[str, type | None]
"""Module name → its options class, None if it has no options. Looked up only for the modules that a configuration
names or enables, so a lazy mapping may import them then; it may also know dotted paths that it does not list."""

_GROUPS = ("hosts", "modules", "ports")
_NOT_BUILT = ("http",)


@attrs.frozen
class Context:
    """What a configuration is read against.

    @ivar folder: where relative paths start.
    @ivar modules: the modules that can be had.
    @ivar defaults: those that every host has unless it disables them.
    """

    folder: str
    modules: Modules
    defaults: Sequence[str] = ()


def build(table: Mapping[str, Any], context: Context, files: tuple[str, ...] = ()) -> Settings:
    """Check a whole configuration.

    @raise OptionError: for the first wrong key.
    """
    main = {key: value for key, value in table.items() if key not in SECTIONS and key not in _GROUPS}
    _checkTop(main)
    values: dict[str, Any] = {
        name: parseOptions(cls, table.get(name, {}), (name,), context.folder) for name, cls in SECTIONS.items()
    }
    data = parseOptions(Main, main, (), context.folder).data
    if "data" not in main:
        data = os.path.normpath(os.path.join(context.folder, data))
    tls = values["tls"]
    if "certificates" not in table.get("tls", {}):
        values["tls"] = attrs.evolve(
            tls, certificates=os.path.normpath(os.path.join(context.folder, tls.certificates))
        )
    values["listen"] = _listen(values["listen"], table.get("listen", {}))
    _checkDatabase(values["database"].url)
    warnings = [
        f"listen.{name} is set, but nothing of this version listens there"
        for name in _NOT_BUILT
        if getattr(values["listen"], name)
    ]
    shared = _modules(table.get("modules", {}), context)
    hosts = _hosts(table.get("hosts", {}), shared, context, warnings)
    ports = _ports(table.get("ports", {}), context, hosts)
    return Settings(
        files=files, folder=context.folder, data=data, hosts=hosts, ports=ports, warnings=tuple(warnings), **values
    )


def _checkTop(main: Mapping[str, Any]) -> None:
    known = {entry.key for entry in describeOptions(Main)}
    for key in main:
        if key not in known:
            raise OptionError((key,), "unknown key", closest(key, [*known, *SECTIONS, *_GROUPS]))


def _listen(listen: Listen, table: Mapping[str, Any]) -> Listen:
    """Put the interface into the default listeners, and look at every endpoint string."""
    kind, address = "tcp6" if ":" in listen.interface else "tcp", listen.interface.replace(":", "\\:")
    if "c2s" not in table:
        listen = attrs.evolve(listen, c2s=(f"{kind}:5222:interface={address}",))
    if "c2s_tls" not in table:
        listen = attrs.evolve(listen, c2sTls=(f"{kind}:5223:interface={address}",))
    for entry in describeOptions(Listen):
        for endpoint in getattr(listen, entry.attribute) if entry.type == "list" else ():
            checkEndpoint(endpoint, ("listen", entry.key))
    return listen


def checkEndpoint(endpoint: str, path: tuple[str, ...]) -> None:
    """Look at a Twisted endpoint string without opening anything.

    @raise OptionError: it has no known type, or its port is none.
    """
    kind, _, rest = endpoint.partition(":")
    known = {"tcp", "unix", "ssl"} | {plugin.prefix for plugin in getPlugins(IStreamServerEndpointStringParser)}
    if kind not in known or not rest:
        raise OptionError(path, f'{endpoint!r} is no Twisted endpoint such as "tcp:5222"', closest(kind, known))
    if kind == "haproxy":
        return checkEndpoint(rest, path)
    port = rest.split(":")[0].removeprefix("port=")
    isPort = port.isascii() and port.isdigit() and int(port) < 65536
    if kind in ("tcp", "tcp6", "ssl") and "=" not in port and not isPort:
        raise OptionError(path, f"{endpoint!r} has no port from 0 to 65535")


def _checkDatabase(url: str) -> None:
    if url not in ("sqlite", "sqlite-memory") and not url.startswith(("postgresql://", "postgresql+psycopg://")):
        choices = ("sqlite", "sqlite-memory", "postgresql")
        raise OptionError(
            ("database", "url"), 'must be "sqlite", "sqlite-memory" or "postgresql://…"', closest(url, choices)
        )


def _group(table: Any, path: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise OptionError(path, "must be a table")
    return table


def _optionsClass(name: str, path: tuple[str, ...], context: Context) -> type | None:
    try:
        return context.modules[name]
    except KeyError:
        if "." in name:
            raise OptionError(path, f"there is no module {name!r} to import") from None
        raise OptionError(path, f"there is no module {name!r}", closest(name, list(context.modules))) from None
    except ModuleError as error:
        raise OptionError(path, str(error)) from None


def _moduleValues(name: str, table: Any, path: tuple[str, ...], context: Context) -> dict[str, Any]:
    cls = _optionsClass(name, path, context)
    if cls is not None:
        return parseValues(cls, table, path, context.folder)
    for key in _group(table, path):
        raise OptionError((*path, key), f"the module {name!r} has no options")
    return {}


def _modules(table: Any, context: Context) -> dict[str, dict[str, Any]]:
    """``[modules.<name>]``: values for every host."""
    path = ("modules",)
    return {
        name: _moduleValues(name, options, (*path, name), context) for name, options in _group(table, path).items()
    }


def _domain(name: str, path: tuple[str, ...]) -> str:
    try:
        return prepareDomain(name)
    except InvalidJID as error:
        raise OptionError(path, f"is no domain: {error}") from None


def _hosts(
    table: Any, shared: Mapping[str, dict[str, Any]], context: Context, warnings: list[str]
) -> dict[str, HostSettings]:
    hosts: dict[str, HostSettings] = {}
    if not _group(table, ("hosts",)):
        raise OptionError(("hosts",), 'there is no host; add [hosts."example.com"] or give --domain')
    for name, options in table.items():
        path = ("hosts", name)
        domain = _domain(name, path)
        if domain in hosts:
            raise OptionError(path, f"is the host {domain!r} a second time")
        hosts[domain] = _host(domain, _group(options, path), path, shared, context, warnings)
    return hosts


def _host(
    domain: str,
    table: Mapping[str, Any],
    path: tuple[str, ...],
    shared: Mapping[str, dict[str, Any]],
    context: Context,
    warnings: list[str],
) -> HostSettings:
    known = {entry.key for entry in describeOptions(HostKeys)}
    keys = parseOptions(HostKeys, {key: value for key, value in table.items() if key in known}, path)
    for key in ("enable", "disable"):
        for module in getattr(keys, key):
            _optionsClass(module, (*path, key), context)
    enabled = [name for name in dict.fromkeys((*context.defaults, *keys.enable)) if name not in keys.disable]
    own = {}
    for name, value in table.items():
        if name in known:
            continue
        if not isinstance(value, dict):
            raise OptionError((*path, name), "unknown key", closest(name, known))
        own[name] = _moduleValues(name, value, (*path, name), context)
        if name not in enabled:
            warnings.append(f"{domain}: options for the module {name}, which is not enabled there")
    options = {}
    # Also of modules that are not enabled: they may be attached while the server runs.
    for name in dict.fromkeys((*enabled, *shared, *own)):
        cls = _optionsClass(name, path, context)
        if cls is not None:
            options[name] = cls(**{**shared.get(name, {}), **own.get(name, {})})
    return HostSettings(domain, tuple(enabled), options)


def _ports(table: Any, context: Context, hosts: Mapping[str, HostSettings]) -> dict[str, PortSettings]:
    known = {entry.key for entry in describeOptions(PortKeys)}
    ports: dict[str, PortSettings] = {}
    for name, options in _group(table, ("ports",)).items():
        path = ("ports", name)
        domain = _domain(name, path)
        if domain in hosts or domain in ports:
            raise OptionError(path, f"is the address {domain!r} a second time")
        rest = {key: value for key, value in _group(options, path).items() if key not in known}
        keys = parseOptions(PortKeys, {k: v for k, v in options.items() if k in known}, path, context.folder)
        if not keys.kind:
            raise OptionError(path, f"needs the key {optionKey('kind')!r}")
        ports[domain] = PortSettings(domain, keys.kind, keys.secretFile, rest)
    return ports
