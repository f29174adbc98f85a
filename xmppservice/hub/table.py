"""Dispatch tables, compiled from the decorators of the attached modules.

A table answers "who wants to see this stanza" with one or two dict look-ups. It is compiled
anew whenever a module is attached or detached and never changes in between, so handlers
that are under way keep the table they started with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from xmppservice.hub import hooks
from xmppservice.hub.hooks import REGISTRATIONS, HookPoint, Phase, Registration, Target

if TYPE_CHECKING:
    from xmppservice.hub.module import HostModule
    from xmppservice.wire.element import Element

#: A compiled handler: the bound method and its phase.
Step = tuple[Callable[[Any], Any], Phase]
Steps = tuple[Step, ...]

NOTHING: frozenset[str] = frozenset()


#: How many combinations of payloads a chain keeps.
MET_LIMIT = 1024


class Chain:
    """The handlers for one kind and type of stanza on one side.

    Handlers bound to a payload namespace join only if a child of the stanza has it. The
    combinations that were met are kept, a bounded number: strangers could send every subset of the namespaces
    that modules registered.
    """

    __slots__ = ("_always", "_byPayload", "_met", "empty")

    def __init__(self, registered: Sequence[tuple[Registration, Callable[[Any], Any]]]) -> None:
        self._always = [(index, mark, bound) for index, (mark, bound) in enumerate(registered)]
        self._byPayload = frozenset(mark.namespace for mark, _ in registered if mark.namespace)
        self._met: dict[frozenset[str], Steps] = {}
        self.empty = not registered

    def steps(self, stanza: Element) -> Steps:
        """The handlers that want this stanza, in the order of phases."""
        wanted = self._byPayload
        if not wanted:
            found = NOTHING
        else:
            spaces = [node.ns for node in stanza.children if type(node) is not str]  # type: ignore[union-attr]
            found = NOTHING if wanted.isdisjoint(spaces) else wanted.intersection(spaces)
        try:
            return self._met[found]
        except KeyError:
            if len(self._met) >= MET_LIMIT:
                self._met.clear()
            return self._met.setdefault(found, self._compile(found))

    def _compile(self, found: frozenset[str]) -> Steps:
        chosen = [
            (mark.phase, index, bound)
            for index, mark, bound in self._always
            if mark.namespace is None or mark.namespace in found
        ]
        return tuple((bound, phase) for phase, _, bound in sorted(chosen, key=lambda entry: entry[:2]))


class IQEntry:
    """Who answers one kind of IQ: the method, for which addresses, and for whom."""

    __slots__ = ("access", "method", "target")

    def __init__(self, method: Callable[[Any], Any], target: Target, access: str) -> None:
        self.method = method
        self.target = target
        self.access = access


class _TypedChains(dict[str, Chain]):
    """The chains of one stanza point, by stanza type, made when first asked for.

    The types are those of the specification, checked before the table is asked.
    """

    __slots__ = ("_registered",)

    def __init__(self, registered: Sequence[tuple[Registration, Callable[[Any], Any]]]) -> None:
        super().__init__()
        self._registered = registered

    def __missing__(self, type: str) -> Chain:
        wanted = [entry for entry in self._registered if entry[0].types is None or type in entry[0].types]
        return self.setdefault(type, Chain(wanted))


class _Side:
    """One stanza point: what runs before delivery, and what runs as fallback."""

    __slots__ = ("before", "fallback")

    def __init__(self, registered: Sequence[tuple[Registration, Callable[[Any], Any]]]) -> None:
        self.before = _TypedChains([entry for entry in registered if entry[0].phase is not Phase.FALLBACK])
        self.fallback = _TypedChains([entry for entry in registered if entry[0].phase is Phase.FALLBACK])


class DispatchTable:
    """All handlers of one virtual host, ready for look-ups.

    `sending` and `receiving` map a stanza kind to its side; `iq` maps (type, namespace,
    name) of an IQ request's payload to its `IQEntry`; `events` maps a hook point to the
    bound methods; `keyed` maps (hook point, key) likewise.
    """

    __slots__ = ("events", "iq", "keyed", "receiving", "sending")

    def __init__(self, modules: Iterable[HostModule]) -> None:
        byPoint: dict[HookPoint, list[tuple[Registration, Callable[[Any], Any]]]] = {}
        for module in modules:
            for mark, bound in registrationsOf(module):
                byPoint.setdefault(mark.point, []).append((mark, bound))
        kinds = {"message": hooks.message, "presence": hooks.presence, "iq": hooks.iq}
        self.sending = {kind: _Side(byPoint.get(points.sending, ())) for kind, points in kinds.items()}
        self.receiving = {kind: _Side(byPoint.get(points.receiving, ())) for kind, points in kinds.items()}
        self.iq: dict[tuple[str, str, str], tuple[IQEntry, ...]] = {}
        self._compileIQ("get", byPoint.get(hooks.iq.get, ()))
        self._compileIQ("set", byPoint.get(hooks.iq.set, ()))
        self.events: dict[HookPoint, tuple[Callable[..., Any], ...]] = {
            point: tuple(bound for _, bound in entries)
            for point, entries in byPoint.items()
            if isinstance(point, hooks.EventPoint)
        }
        self.keyed: dict[tuple[HookPoint, str], tuple[Callable[..., Any], ...]] = {}
        for point, entries in byPoint.items():
            if isinstance(point, hooks.KeyedPoint):
                for mark, bound in entries:
                    key = (point, mark.namespace or "")
                    self.keyed[key] = (*self.keyed.get(key, ()), bound)

    def _compileIQ(self, type: str, entries: Iterable[tuple[Registration, Callable[[Any], Any]]]) -> None:
        for mark, bound in entries:
            key = (type, mark.namespace or "", mark.name or "")
            entry = IQEntry(bound, mark.target, mark.access)
            self.iq[key] = (*self.iq.get(key, ()), entry)

    def iqEntry(self, type: str, payload: Element, target: Target) -> IQEntry | None:
        """Who answers an IQ with this payload at an address of this sort, or None."""
        for entry in self.iq.get((type, payload.ns, payload.name), ()):
            if entry.target & target:
                return entry
        return None


def registrationsOf(module: HostModule) -> list[tuple[Registration, Callable[[Any], Any]]]:
    """What a module's methods are hooked into, in the order of their definition."""
    found: list[tuple[Registration, Callable[[Any], Any]]] = []
    seen: set[str] = set()
    for kind in reversed(type(module).__mro__):
        for name in vars(kind):
            if name in seen:
                continue
            function = getattr(type(module), name, None)
            marks: list[Registration] = getattr(function, REGISTRATIONS, [])
            if marks:
                seen.add(name)
                found.extend((mark, getattr(module, name)) for mark in marks)
    return found
