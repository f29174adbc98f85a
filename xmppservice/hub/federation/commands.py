"""`xmppctl s2s` and `xmppctl s2s try`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from xmppservice.hub.commands import Argument, Call, CommandError, Result, command
from xmppservice.hub.contracts.federation import Step, Tell, Unreachable
from xmppservice.hub.federation.advice import advices

if TYPE_CHECKING:
    # xmppctl reads what the commands are without loading what they work on.
    from xmppservice.hub.federation.domains import Federation
    from xmppservice.hub.federation.link import ServerLink

_COLUMNS = (
    "pair", "state", "authenticated", "encrypted", "opened by", "address", "since", "sent", "received", "waiting",
    "why",
)  # fmt: skip
_DOMAIN = Argument("domain", "Domain of the other server.", "domain")
_FROM = Argument("from", "Domain of ours to call from; else the first host.", "domain", required=False, named=True)


class FederationCommands:
    """What the running server knows of other servers; None if it talks to none."""

    def __init__(self, federation: Federation | None) -> None:
        self._maybe = federation

    @property
    def _federation(self) -> Federation:
        if self._maybe is None:
            raise CommandError(
                "this server talks to no other server", 'set listen.s2s = ["tcp:5269"], and restart it'
            )
        return self._maybe

    @command("s2s", "List the streams to and from other servers, and why one failed.", changes=False)
    async def listLinks(self, call: Call) -> Result:
        """Streams, pairs that wait or failed, and pairs of others that were refused."""
        federation = self._federation
        rows = sorted((*_linkRows(federation), *_otherRows(federation)), key=_place)
        waiting = sum(route.waiting for route in federation.routes.values())
        text = f"{_many(len(federation.links), 'stream')}, {_many(waiting, 'waiting stanza')}."
        if any(row[-1] for row in rows):
            text += " What is wrong with a domain, and how to mend it: xmppctl s2s try DOMAIN"
        return Result(text, _COLUMNS, rows)

    @command("s2s try", "Call another server and say, step by step, what comes of it.", (_DOMAIN, _FROM), changes=False)
    async def tryServer(self, call: Call, domain: str, **more: str | None) -> Result:
        """Open a stream of its own to a server, prove who we are, send no stanza, and close it again.

        `more` has "from", which is no name that a parameter can have.
        """
        federation = self._federation
        local = more["from"] or next(iter(federation.router.hosts))
        _mayTry(federation, local, domain)
        steps: list[Step] = []
        _tellOfOthers(federation, local, domain, steps.append)
        call.progress(f"calling {domain}; at most {_PATIENCE} seconds")
        try:
            link = await federation.connector.connect(local, domain, steps.append)
            await _prove(link, local, domain, steps.append)
        except Unreachable as error:
            return _failure(steps, error, local, domain)
        _letGo(federation, link)
        text = f"{local} can send to {domain}."
        return Result(text, _STEPS, [_cells(step) for step in steps])


_STEPS = ("step", "result", "what")
#: Seconds after which a trial is over, whatever the other side does: those of the edge, and the answer to dialback.
_PATIENCE = 75


def _cells(step: Step) -> tuple[str, str, str]:
    return (step.name, step.result, step.what)


def _mayTry(federation: Federation, local: str, domain: str) -> None:
    """Raises `CommandError` for what is no matter of other servers."""
    if not federation.isOurs(local):
        raise CommandError(f"{local} is not served here", f"hosts: {', '.join(federation.router.hosts)}")
    if federation.isOurs(domain):
        raise CommandError(f"{domain} is served here", "no other server is asked about it")
    if not federation.policy.allows(domain):
        raise CommandError(f"this server does not talk to {domain}", "see s2s.allow and s2s.deny")
    if federation.stopping:
        raise CommandError("the server stops")


def _tellOfOthers(federation: Federation, local: str, domain: str, tell: Tell) -> None:
    """A stream that carries the pair already, or stanzas that wait for one."""
    route = federation.routes.get((local, domain))
    if route is None:
        return
    if route.link is not None:
        whose = "we" if route.link.outgoing else "they"
        tell(Step("now", "note", f"a stream is up that {whose} opened; what follows is about another one"))
    elif route.waiting:
        tell(Step("now", "note", f"{_many(route.waiting, 'stanza')} waiting"))


async def _prove(link: ServerLink, local: str, domain: str, tell: Tell) -> None:
    """Have the other server accept us, if it has not by our certificate."""
    if (local, domain) in link.carries:
        tell(Step("authentication", "ok", "it accepts our certificate"))
        return
    try:
        await link.prove(local, domain)
    except Unreachable as error:
        tell(Step("authentication", "failed", error.reason))
        link.disconnect()
        raise
    tell(Step("authentication", "ok", "it accepts us by dialback"))


def _failure(steps: list[Step], error: Unreachable, local: str, domain: str) -> Result:
    """It did not work: why, and what to do."""
    reasons = [step.what for step in steps if step.result == "failed"]
    if not reasons:
        steps.append(Step("attempt", "failed", error.reason))
        reasons = [error.reason]
    lines = [f"{local} cannot send to {domain}; who tries gets {error.condition}."]
    lines += [f"How to mend it: {advice}." for advice in advices(reasons)]
    return Result("\n".join(lines), _STEPS, [_cells(step) for step in steps], failed=True)


def _letGo(federation: Federation, link: ServerLink) -> None:
    """Close the stream again, unless stanzas that came meanwhile have found it, and need it."""
    used = link.asked or link.questions or link.queue is not None
    if not used and all(route.link is not link for route in federation.routes.values()):
        link.reason = "it was opened just to try"
        link.disconnect()


# -- the list --------------------------------------------------------------------------------------


_Row = tuple[Any, ...]


def _place(row: _Row) -> tuple[str, ...]:
    """Both directions of two domains stand together."""
    return (*sorted(row[0].split(" → ")), row[0])


def _linkRows(federation: Federation) -> Iterator[_Row]:
    for link in federation.links:
        stream = link.stream
        address, secure = ("", False) if stream is None else (stream.peer, stream.secure)
        whose = "us" if link.outgoing else "them"
        common = (secure, whose, address, _time(link.since), link.sent, link.received, 0, "")
        pairs = sorted({*link.carries, *link.accepts})
        if not pairs:
            yield (link.remote or "unknown", "nothing proved yet", "", *common)
        for pair in pairs:
            yield (_name(pair), "up", link.how.get(pair, ""), *common)


def _otherRows(federation: Federation) -> Iterator[_Row]:
    """Pairs without a stream: those that wait, that cannot be reached, and those of others that were refused."""
    shown = {pair for link in federation.links for pair in (*link.carries, *link.accepts)}
    for pair, route in federation.routes.items():
        if pair not in shown and (route.waiting or route.reason):
            shown.add(pair)
            state = "waiting" if route.waiting else "unreachable"
            since = federation.failures.get(pair, ("", 0.0))[1]
            yield _without(pair, state, since, route.waiting, route.reason)
    for pair, (reason, when) in federation.failures.items():
        if pair not in shown:
            yield _without(pair, "unreachable" if federation.isOurs(pair[0]) else "refused", when, 0, reason)


def _without(pair: tuple[str, str], state: str, when: float, waiting: int, why: str) -> _Row:
    """A row about a pair that has no stream; `when` is that of the last failure."""
    return (_name(pair), state, "", None, "", "", _time(when) if when else "", 0, 0, waiting, why)


def _name(pair: tuple[str, str]) -> str:
    return f"{pair[0]} → {pair[1]}"


def _time(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
