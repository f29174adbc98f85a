"""Where the server of a remote domain is: SRV records, or the domain itself (RFC 6120 3.2, RFC 2782, XEP-0368).

The two services, STARTTLS and direct TLS, are one set as to priorities and weights (XEP-0368 3). The order is drawn
anew for each question, from answers that the resolver may have kept.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.python.failure import Failure

from xmppservice.edge.s2s.questions import AAAA, SRV, A, Answer, INames, LookupFailed
from xmppservice.protocol.jid import asciiDomain

PORT: Final = 5269
MAX_TARGETS: Final = 16
"""Targets of one domain that are tried (S07)."""
_DIRECT, _STARTTLS = "_xmpps-server._tcp.", "_xmpp-server._tcp."
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_isHost: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch

Random = Callable[[int], int]
"""A number from 0 up to, but not including, the one given."""


class NoService(Exception):
    """The domain has no server for us: it says so, or does not exist; `remote-server-not-found` to the sender."""


class NoAnswer(Exception):
    """Nobody can tell now where the domain's server is; `remote-server-timeout` to the sender."""


@attrs.frozen
class Target:
    """A host and port to try.

    `direct`: TLS before the stream (XEP-0368); else STARTTLS. `secure`: a trusted resolver says that DNSSEC
    proves that the domain has this target. `chosen`: the operator set it, so refused networks do not matter.
    """

    host: str
    port: int
    direct: bool = False
    secure: bool = False
    chosen: bool = False

    def __str__(self) -> str:
        return f"{self.host} port {self.port} ({'direct TLS' if self.direct else 'STARTTLS'})"


def describeTargets(targets: Iterable[Target]) -> list[str]:
    """The targets for people, one a line, in the order in which they are tried."""
    notes = {"secure": "proved by DNSSEC", "chosen": "from the configuration"}
    return [
        ", ".join([f"{target}", *(text for name, text in notes.items() if getattr(target, name))]) for target in targets
    ]


class Finder:
    """Finds the targets of a domain; `overrides` are the operator's answers, by prepared domain (RFC 6120 3.2.3)."""

    def __init__(
        self,
        resolver: INames,
        overrides: Mapping[str, Sequence[Target]] | None = None,
        random: Random = secrets.randbelow,
    ) -> None:
        self._resolver = resolver
        self._overrides = {
            domain: [attrs.evolve(target, chosen=True) for target in targets]
            for domain, targets in (overrides or {}).items()
        }
        self._random = random

    def targets(self, domain: str) -> Deferred[list[Target]]:
        """The targets of a prepared domain in the order to try, at least one.

        Fails with `NoService` or `NoAnswer`; the text says why.
        """
        chosen = self._overrides.get(domain)
        if chosen:
            return succeed(list(chosen))
        literal = domain.strip("[]")
        if isAddress(literal):
            return succeed([Target(literal, PORT)])
        host = asciiDomain(domain)
        asked = _both(self._ask(_DIRECT + host, SRV), self._ask(_STARTTLS + host, SRV))
        return asked.addCallback(lambda answers: self._judge(host, *answers))

    def _ask(self, name: str, kind: int) -> Deferred[Answer | LookupFailed]:
        return self._resolver.ask(name, kind).addErrback(_asResult)

    def _judge(
        self, host: str, direct: Answer | LookupFailed, starttls: Answer | LookupFailed
    ) -> list[Target] | Deferred[list[Target]]:
        found, said = [], False
        for answer, isDirect in ((direct, True), (starttls, False)):
            if isinstance(answer, Answer) and answer.records:
                said = True
                found += _services(answer, isDirect)
        if found:
            return _order(found, self._random)
        failed = [each for each in (direct, starttls) if isinstance(each, LookupFailed)]
        if not said:
            # Also if a question was not answered (RFC 6120 3.2.1, 9): some servers answer none about SRV.
            return self._fallBack(host, failed)
        if failed:
            raise NoAnswer(f"the SRV records of {host} could not be found out: {failed[0]}")
        raise NoService(f"the SRV records of {host} say that it has no server for other servers")

    def _fallBack(self, host: str, failed: list[LookupFailed]) -> Deferred[list[Target]]:
        """RFC 6120 3.2.2: the domain is the host, if it has an address."""

        def judge(answers: list[Answer | LookupFailed]) -> list[Target]:
            good = [answer for answer in answers if isinstance(answer, Answer)]
            if any(answer.records for answer in good):
                # All of it has to be proved, what there is as well as what there is not.
                secure = not failed and len(good) == len(answers) and all(answer.secure for answer in good)
                return [Target(host, PORT, secure=secure)]
            problems = [*failed, *(answer for answer in answers if isinstance(answer, LookupFailed))]
            if problems:
                raise NoAnswer(f"where {host} is could not be found out: {problems[0]}")
            if not any(answer.exists for answer in good):
                raise NoService(f"there is no domain {host}")
            raise NoService(f"{host} has neither SRV records nor an address")

        return _both(self._ask(host, AAAA), self._ask(host, A)).addCallback(judge)


def isAddress(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@attrs.frozen
class _Service:
    priority: int
    weight: int
    target: Target


def _asResult(failure: Failure) -> LookupFailed:
    failure.trap(LookupFailed)
    return LookupFailed(failure.getErrorMessage())


def _both(first: Deferred[Answer | LookupFailed], second: Deferred[Answer | LookupFailed]) -> Deferred[list[Any]]:
    """Both results; cancelled, both are, and that is the failure."""
    return gatherResults([first, second], consumeErrors=True).addErrback(_unwrap)


def _unwrap(failure: Failure) -> Failure:
    return failure.value.subFailure if isinstance(failure.value, FirstError) else failure


def _services(answer: Answer, direct: bool) -> list[_Service]:
    """The records of use: a host with a name, and a port."""
    found = []
    for record in answer.records:
        host: Any = record.target.name.decode("latin-1").lower()
        if record.port and len(host) <= 253 and _isHost(host) and not isAddress(host):
            target = Target(host, record.port, direct, answer.secure)
            found.append(_Service(record.priority, record.weight, target))
    return found


def _order(services: list[_Service], random: Random) -> list[Target]:
    """RFC 2782: low priorities first; within a priority drawn, with chances as the weights are."""
    ordered: dict[Target, None] = {}
    for priority in sorted({service.priority for service in services}):
        # Those without weight come first, so that they have a small chance.
        left = sorted((each for each in services if each.priority == priority), key=lambda each: each.weight > 0)
        while left and len(ordered) < MAX_TARGETS:
            drawn = left.pop(_draw([each.weight for each in left], random))
            ordered.setdefault(drawn.target)
    return list(ordered)


def _draw(weights: list[int], random: Random) -> int:
    if not any(weights):
        return random(len(weights))
    at = random(sum(weights) + 1)
    for index, weight in enumerate(weights):
        at -= weight
        if at <= 0:
            return index
    return len(weights) - 1
