"""The rights of components as the configuration grants them (XEP-0355, XEP-0356)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xmppservice.hub.options import OptionError, closest, parseOptions
from xmppservice.hub.rights import NOTHING, REMAINING_INFO, REMAINING_ITEMS, Rights
from xmppservice.protocol.jid import InvalidJID, prepareDomain
from xmppservice.settings import PortSettings, Settings, SettingsError, complaint
from xmppservice.settings.sections import ComponentKeys
from xmppservice.wire import ns

_TYPES = ("get", "set", "both")


def readRights(settings: Settings) -> dict[str, Rights]:
    """Domain of a component → its rights; raises `SettingsError` for what cannot be granted."""
    granted: dict[str, Rights] = {}
    for port in settings.ports.values():
        try:
            granted[port.domain] = _rightsOf(settings, port, granted)
        except OptionError as error:
            raise _complaint(settings, error) from None
    return granted


def _complaint(settings: Settings, error: OptionError) -> SettingsError:
    hint = f" (did you mean {error.suggestion!r}?)" if error.suggestion else ""
    return complaint(settings, error.path, error.problem + hint)


def _rightsOf(settings: Settings, port: PortSettings, others: Mapping[str, Rights]) -> Rights:
    path = ("ports", port.domain)
    keys = parseOptions(ComponentKeys, port.options, path)
    iq = _iq(keys.iq, (*path, "iq"))
    delegated = _delegated(keys.delegated, (*path, "delegated"))
    rights = Rights(frozenset(), keys.roster, keys.rosterPush, keys.message, keys.presence, iq, delegated)
    if keys.presence == "roster" and not rights.mayUseRoster("get"):
        # Section 7.4 of XEP-0356: the server must reject it.
        problem = '"roster" needs the right to read rosters: roster = "get" or "both"'
        raise OptionError((*path, "presence"), problem)
    if not rights.privileged and not delegated and not keys.hosts:
        return NOTHING
    hosts = _hosts(settings, port, keys)
    _checkModules(settings, hosts, rights, path)
    for domain, other in others.items():
        twice = sorted(other.delegated.keys() & delegated.keys()) if hosts & other.hosts else ()
        if twice:
            raise OptionError((*path, "delegated"), f"{twice[0]} is delegated to {domain} already")
    return Rights(hosts, keys.roster, keys.rosterPush, keys.message, keys.presence, iq, delegated)


def _hosts(settings: Settings, port: PortSettings, keys: ComponentKeys) -> frozenset[str]:
    path = ("ports", port.domain)
    found = set()
    for name in keys.hosts:
        try:
            domain = prepareDomain(name)
        except InvalidJID:
            domain = ""
        if domain not in settings.hosts:
            raise OptionError((*path, "hosts"), f'"{name}" is no host of this server', closest(name, settings.hosts))
        found.add(domain)
    if not found:
        above = [host for host in settings.hosts if port.domain.endswith("." + host)]
        if not above:
            raise OptionError(path, "has rights, but is below no host; say over whose accounts: hosts = [...]")
        found.add(max(above, key=len))
    return frozenset(found)


def _checkModules(settings: Settings, hosts: frozenset[str], rights: Rights, path: tuple[str, ...]) -> None:
    """Rights that no module carries out would be a promise that is not kept."""
    for host in sorted(hosts):
        enabled = settings.hosts[host].enabled
        for name, needed in (("privilege", rights.privileged), ("delegation", bool(rights.delegated))):
            if needed and name not in enabled:
                raise OptionError(path, f"has rights that need the module {name}, which is not enabled on {host}")


def _iq(entries: Sequence[Sequence[str]], path: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in entries:
        if len(entry) != 2 or not entry[0] or entry[1] not in _TYPES:
            raise OptionError(path, 'each entry is a namespace and "get", "set" or "both"')
        if entry[0] in found:
            raise OptionError(path, f"{entry[0]} is there twice")
        found[entry[0]] = entry[1]
    return found


def _delegated(entries: Sequence[Sequence[str]], path: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        if not entry or not all(entry):
            raise OptionError(path, "each entry is a namespace and the attributes that a request must have")
        namespace, *attributes = entry
        if namespace in found:
            raise OptionError(path, f"{namespace} is there twice")
        special = namespace in (REMAINING_INFO, REMAINING_ITEMS)
        if namespace.startswith(ns.DELEGATION) and (not special or attributes):
            # Section 8 rule 5 of XEP-0355.
            raise OptionError(path, f"{namespace} must not be delegated{' with attributes' if special else ''}")
        found[namespace] = tuple(attributes)
    return found
