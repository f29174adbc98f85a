"""The catalogue of hook points: where a module can join in (architecture section 5).

A hook point is an object; calling it decorates a method of a module. The decorator only
leaves a `Registration` on the function: the loader reads the class once and compiles the
tables of `xmppservice.hub.table`, so a module with nothing to say to a stanza costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Flag, IntEnum
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

#: The name under which a decorated function carries its registrations.
REGISTRATIONS = "_xmppRegistrations"


class Phase(IntEnum):
    """When a handler runs, on each side of a stanza's way."""

    POLICY = 0
    """May refuse the stanza by raising `StanzaError`, or drop it with `HANDLED`."""
    AMEND = 1
    """May change the stanza. On the recipient's side: only append or strip top-level children."""
    STORE = 2
    """Keeps the stanza somewhere."""
    OBSERVE = 3
    """Only looks. An exception here is logged and the stanza goes on."""
    DELIVER = 4
    """The core's own: sessions get the stanza."""
    FALLBACK = 5
    """Runs on the recipient's side when no session took the stanza."""


class Target(Flag):
    """Which addresses an IQ handler answers for."""

    HOST = 1
    """The domain of the virtual host."""
    ACCOUNT = 2
    """The bare JID of an account (or no ``to``: the sender's own account)."""


HOST = Target.HOST
ACCOUNT = Target.ACCOUNT


class _Handled:
    """The type of `HANDLED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "HANDLED"


#: What a handler returns when the stanza is done with: nobody else sees it, no error is sent.
HANDLED = _Handled()


class Registration:
    """What a decorator says about one method: `point`, and how it narrows it down."""

    __slots__ = ("access", "name", "namespace", "phase", "point", "target", "types")

    def __init__(
        self,
        point: HookPoint,
        phase: Phase = Phase.OBSERVE,
        types: Iterable[str] | None = None,
        namespace: str | None = None,
        name: str | None = None,
        target: Target = Target.HOST,
        access: str = "anyone",
    ) -> None:
        self.point = point
        self.phase = phase
        self.types = None if types is None else frozenset(types)
        self.namespace = namespace
        self.name = name
        self.target = target
        self.access = access


class HookPoint:
    """A place where the server calls modules.

    `name` is its stable name; `when` says when it fires, `returns` what a handler may
    return, `changes` what it may change: the reference page is made from these.
    """

    __slots__ = ("changes", "name", "returns", "when")

    def __init__(self, name: str, when: str, returns: str, changes: str) -> None:
        self.name = name
        self.when = when
        self.returns = returns
        self.changes = changes
        CATALOGUE.append(self)

    def register(self, function: F, registration: Registration) -> F:
        """Leave `registration` on `function`."""
        marks: list[Registration] = list(getattr(function, REGISTRATIONS, ()))
        marks.append(registration)
        setattr(function, REGISTRATIONS, marks)
        return function


#: Every hook point, in the order of this file.
CATALOGUE: list[HookPoint] = []


class StanzaPoint(HookPoint):
    """A side of the way of messages, presence or IQs: decorate with a phase."""

    __slots__ = ()

    def __call__(
        self, phase: Phase, types: Iterable[str] | None = None, payload: str | None = None
    ) -> Callable[[F], F]:
        """Hook a method(transit) into `phase`.

        `types` narrows to stanza types (``"chat"``, ``"subscribe"``; available presence is
        ``""``), `payload` to stanzas with a child element in that namespace.
        """

        def decorate(function: F) -> F:
            return self.register(function, Registration(self, phase, types, payload))

        return decorate


class IQPoint(HookPoint):
    """IQ requests that the server answers, by payload."""

    __slots__ = ()

    def __call__(
        self, namespace: str, name: str, to: Target = HOST, access: str = "anyone"
    ) -> Callable[[F], F]:
        """Answer IQs whose payload is ``<name xmlns=namespace>``.

        `access` for account addresses: ``"anyone"``, ``"owner"`` (others get
        service-unavailable) or ``"subscribers"`` (the owner and who is subscribed to it).
        """

        def decorate(function: F) -> F:
            mark = Registration(self, Phase.DELIVER, None, namespace, name, to, access)
            return self.register(function, mark)

        return decorate


class EventPoint(HookPoint):
    """Something happened; nothing can be refused here."""

    __slots__ = ()

    def __call__(self, function: F) -> F:
        """Hook a method; the arguments are in the description of the point."""
        return self.register(function, Registration(self))


class KeyedPoint(HookPoint):
    """A question that is asked with a key: a stage, a namespace."""

    __slots__ = ()

    def __call__(self, key: str) -> Callable[[F], F]:
        """Hook a method for one key."""

        def decorate(function: F) -> F:
            return self.register(function, Registration(self, namespace=key))

        return decorate


_STANZA_RETURNS = (
    "None to go on, HANDLED when done, an Element (IQ) as the reply, "
    "a Deferred of one of these; raise StanzaError to refuse"
)


class _StanzaPoints:
    """The two sides of one kind of stanza."""

    def __init__(self, kind: str) -> None:
        self.sending = StanzaPoint(
            f"{kind}.sending",
            f"a {kind} of a local account is about to leave its sender's side "
            "(POLICY, AMEND, STORE, OBSERVE)",
            _STANZA_RETURNS,
            "AMEND may change the stanza",
        )
        self.receiving = StanzaPoint(
            f"{kind}.receiving",
            f"a {kind} has reached a local account (POLICY, AMEND, STORE, then delivery, FALLBACK)",
            _STANZA_RETURNS,
            "AMEND may append or strip top-level children",
        )


class _PresencePoints(_StanzaPoints):
    """Presence also spreads to many at once."""

    def __init__(self) -> None:
        super().__init__("presence")
        self.spreading = EventPoint(
            "presence.spreading",
            "method(account, contacts): presence of `account` is about to go to `contacts`, "
            "a list of bare JIDs as text; directed presence and stanzas to one address do not come here",
            "None, or the list of those that shall get it",
            "nothing else",
        )


class _IQPoints(_StanzaPoints):
    """IQs pass through accounts, and the server answers some."""

    def __init__(self) -> None:
        super().__init__("iq")
        self.get = IQPoint(
            "iq.get", "an IQ get for the host or an account", _STANZA_RETURNS, "nothing"
        )
        self.set = IQPoint(
            "iq.set", "an IQ set for the host or an account", _STANZA_RETURNS, "nothing"
        )


class _SessionPoints:
    """The life of a session."""

    def __init__(self) -> None:
        self.bound = EventPoint("session.bound", "method(session): a resource was bound", "nothing", "nothing")
        self.available = EventPoint(
            "session.available",
            "method(session): the session's first available presence, or its priority became "
            "non-negative; contacts have been told",
            "nothing",
            "nothing",
        )
        self.unavailable = EventPoint(
            "session.unavailable", "method(session): the session became unavailable", "nothing", "nothing"
        )
        self.closed = EventPoint(
            "session.closed", "method(session): the session has ended for good", "nothing", "nothing"
        )


class _StreamPoints:
    """Streams before and while they are negotiated."""

    def __init__(self) -> None:
        self.features = KeyedPoint(
            "stream.features",
            'method(stream): features are about to be sent; the key is the stage, "auth" or "bind"',
            "an Element or a list of Elements",
            "nothing",
        )
        self.preAuth = KeyedPoint(
            "stream.preAuth",
            "method(iq, stream): an IQ came before authentication; the key is its payload's namespace",
            "the payload of the result (or None), or a Deferred of it; raise StanzaError to refuse",
            "nothing",
        )


class _ComponentPoints:
    """External components that have rights over accounts of the host (`xmppservice.hub.rights`)."""

    def __init__(self) -> None:
        self.sending = KeyedPoint(
            "component.sending",
            "method(transit): a component has sent a stanza to this host or one of its accounts, which is not routed "
            "yet; the key is the namespace of its first child. `transit.origin` is the `ComponentLink`",
            "None to let it go on, HANDLED when done, an Element (IQ) as the reply, a Deferred of one of the last two; "
            "raise StanzaError to refuse",
            "nothing",
        )
        self.connected = EventPoint(
            "component.connected",
            "method(port): a component with rights over accounts of this host has connected",
            "nothing",
            "nothing",
        )
        self.changed = EventPoint(
            "component.changed",
            "method(port, former): the rights of a component, over accounts of this host or of another, "
            "are not those of before",
            "nothing",
            "nothing",
        )


class _AccountPoints:
    """The life of an account; what data a module keeps for it ends here."""

    def __init__(self) -> None:
        self.created = EventPoint("account.created", "method(account): a new account exists", "nothing", "nothing")
        self.deleted = EventPoint(
            "account.deleted",
            "method(account): the account is being deleted; its sessions are closed, its rows vanish after this",
            "nothing",
            "nothing",
        )


rosterChanged = EventPoint(
    "rosterChanged",
    "method(account, version): the roster of `account` got a new version; its last change is to be pushed",
    "nothing",
    "nothing",
)
message = _StanzaPoints("message")
presence = _PresencePoints()
iq = _IQPoints()
session = _SessionPoints()
stream = _StreamPoints()
account = _AccountPoints()
component = _ComponentPoints()
