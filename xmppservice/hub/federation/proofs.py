"""Dialback on links: proving our domains, judging the proofs of others, and vouching for our own (XEP-0220).

The three roles meet here. Initiating: `ask` sends a key and waits for the result. Receiving: a key comes, is judged
by the certificate's name where the policy wants one, and by the authoritative server, over a stream of our own making,
never over the one that the key came by. Authoritative: somebody asks whether a key is ours; nothing is remembered for
that. An answer counts only if this very stream was asked (hardening S01).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from xmppservice.hub.contracts.federation import Unreachable
from xmppservice.hub.passage import logIncident
from xmppservice.protocol.dialback import ERROR, INVALID, RESULT, VALID, VERIFY, Dialback, dialbackKey, isKey
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.networks import networkOf

if TYPE_CHECKING:
    from xmppservice.hub.federation.link import ServerLink
    from xmppservice.wire.element import Element

log = Logger()


def receive(link: ServerLink, element: Element) -> None:
    """An element of dialback has come."""
    found = Dialback.read(element)
    if found.type:
        _answered(link, found)
    elif found.name == VERIFY:
        _vouch(link, found)
    else:
        _judge(link, found)


def _send(link: ServerLink, what: Dialback) -> None:
    if link.stream is not None:
        link.stream.send(what.write())


# -- initiating ------------------------------------------------------------------------------------


def ask(link: ServerLink, local: str, remote: str) -> Deferred[None]:
    """Prove one of our domains to the other server (XEP-0220 2.1.1)."""
    result: Deferred[None] = Deferred()
    stream, pair = link.stream, (local, remote)
    if stream is None or link.ended or not link.dialback:
        result.errback(Unreachable(link.reason if link.ended else "it does not accept our certificate"))
    elif pair in link.asked:
        result.errback(Unreachable("it is being asked already"))
    else:
        link.asked[pair] = result
        _limit(link, link.asked, pair)
        key = dialbackKey(link.federation.secret, remote, local, stream.id)
        _send(link, Dialback(RESULT, local, remote, key=key))
    return result


def verify(link: ServerLink, local: str, remote: str, id: str, key: str) -> Deferred[str]:
    """Ask the authoritative server of `remote` about a key; fires with "valid" or "invalid" (2.1.2)."""
    result: Deferred[str] = Deferred()
    question = (local, remote, id)
    if link.ended or question in link.questions:
        result.errback(Unreachable(link.reason if link.ended else "it is being asked already"))
    elif not link.dialback:
        # Whoever does not know the question might end a stream that others need.
        result.errback(Unreachable("it does not speak dialback"))
    else:
        link.questions[question] = result
        _limit(link, link.questions, question)
        _send(link, Dialback(VERIFY, local, remote, id, key=key))
    return result


def _limit(link: ServerLink, table: dict[Any, Any], key: Any) -> None:
    """Nobody is waited for without end."""
    result: Deferred[Any] = table[key]

    def expired() -> None:
        if table.get(key) is result:
            del table[key]
            result.errback(Unreachable("it does not answer dialback"))

    timer = link.federation.clock.callLater(link.federation.policy.answerTime, expired)

    def stop(outcome: Any) -> Any:
        if timer.active():
            timer.cancel()
        if table.get(key) is result:
            # It was cancelled.
            del table[key]
        return outcome

    result.addBoth(stop)


def _answered(link: ServerLink, answer: Dialback) -> None:
    """An answer; one that nobody waits for changes nothing."""
    if answer.name == VERIFY:
        question = link.questions.pop((answer.target, answer.sender, answer.id), None)
        if question is not None:
            _resolve(question, answer, answer.type)
            return
    else:
        pair = (answer.target, answer.sender)
        asked = link.asked.pop(pair, None)
        if asked is not None:
            if answer.type == VALID:
                link.accepted(*pair, "dialback")
                asked.callback(None)
            else:
                asked.errback(_refusal(answer))
            return
    log.info("{remote} answers a question of dialback that was not asked", remote=link.remote)


def _resolve(question: Deferred[str], answer: Dialback, type: str) -> None:
    if type == ERROR:
        # What the server that asked us is told (2.5).
        question.errback(Unreachable(_refusal(answer).reason, "remote-server-not-found"))
    else:
        question.callback(type)


def _refusal(answer: Dialback) -> Unreachable:
    """Why the other server said no, with what it tells senders (2.1.1)."""
    if answer.type == INVALID:
        return Unreachable("it says that our dialback key is not valid", "internal-server-error", lasting=True)
    error = answer.error
    reason = "no reason given" if error is None else f"{error.condition} {error.text or ''}".strip()
    return Unreachable(f"it refused dialback: {reason}"[:300])


# -- authoritative -----------------------------------------------------------------------------------


def _vouch(link: ServerLink, asked: Dialback) -> None:
    """Is this key ours? (2.2.2)"""
    if not link.federation.isOurs(asked.target):
        _send(link, asked.answer(ERROR, StanzaError("item-not-found")))
        return
    right = isKey(asked.key, link.federation.secret, asked.sender, asked.target, asked.id)
    _send(link, asked.answer(VALID if right else INVALID))


# -- receiving ---------------------------------------------------------------------------------------


def _judge(link: ServerLink, asked: Dialback) -> None:
    """Somebody wants to send for a pair of domains (2.2.1)."""
    federation, sender, target = link.federation, asked.sender, asked.target
    if federation.isOurs(sender):
        raise StreamError("invalid-from", "this domain is served here")
    refusal = None
    if link.outgoing:
        refusal = StanzaError("not-allowed", text="this stream was opened from here")
    elif not federation.isOurs(target):
        refusal = StanzaError("item-not-found")
    elif not federation.policy.allows(sender):
        refusal = StanzaError("policy-violation", type="cancel", text="we do not federate with this domain")
    elif len(link.accepts) >= federation.policy.pairs or _tooMany(link):
        refusal = StanzaError("resource-constraint", text="too many pairs of domains")
    if refusal is not None:
        _send(link, asked.answer(ERROR, refusal))
    elif asked.pair in link.accepts:
        _send(link, asked.answer(VALID))
    else:
        _prove(link, asked)


def _tooMany(link: ServerLink) -> bool:
    """Whether as many proofs are under way as may be, or as one address may have (hardening D11)."""
    federation, policy = link.federation, link.federation.policy
    return federation.proving >= policy.proofs or federation.provers[_networkOf(link)] >= policy.proofsEach


def _networkOf(link: ServerLink) -> str:
    return "" if link.stream is None else networkOf(link.stream.peer)


def _prove(link: ServerLink, asked: Dialback) -> None:
    """Look at the certificate if one is needed, then ask the authoritative server."""
    federation, network = link.federation, _networkOf(link)
    federation.proving += 1
    federation.provers[network] += 1
    done = Deferred.fromCoroutine(_inquire(link, asked))

    def over(outcome: Any) -> None:
        federation.proving -= 1
        federation.provers[network] -= 1
        if not federation.provers[network]:
            del federation.provers[network]
        if isinstance(outcome, Failure):
            error = outcome.value
            if not isinstance(error, StanzaError):
                incident = logIncident("a proof of dialback could not be judged", outcome)
                error = StanzaError("internal-server-error", text=f"incident {incident}")
            federation.refused(link, asked, str(error))
            _send(link, asked.answer(ERROR, error))

    done.addBoth(over)


async def _inquire(link: ServerLink, asked: Dialback) -> None:
    federation, stream = link.federation, link.stream
    if stream is None:
        return
    verdict = await link.identity.judge(asked.sender)
    if federation.policy.certificates and not verdict.valid:
        reason = f"its certificate is not accepted: {verdict.reason}"
        raise StanzaError("not-authorized", text=reason)
    try:
        answer = await federation.verify(asked.target, asked.sender, stream.id, asked.key)
    except Unreachable as error:
        condition = error.condition if error.condition.startswith("remote-server") else "remote-server-timeout"
        # Why is for the operator: anybody can make us ask anywhere (hardening S10).
        federation.refused(link, asked, f"its server cannot be asked: {error.reason}")
        raise StanzaError(condition, text="your server cannot be asked") from None
    if link.ended or not federation.isOurs(asked.target) or federation.isOurs(asked.sender):
        return
    if answer == VALID:
        # The answer goes first: with XEP-0288 what waits for the other server is sent as soon as it is accepted.
        _send(link, asked.answer(VALID))
        link.accept(asked.sender, asked.target, f"dialback, {verdict.how}" if verdict.valid else "dialback")
        return
    federation.refused(link, asked, "its key is not valid")
    if link.accepts:
        # Others use this stream (2.2.1).
        _send(link, asked.answer(ERROR, StanzaError("forbidden")))
        return
    _send(link, asked.answer(INVALID))
    link.disconnect()
