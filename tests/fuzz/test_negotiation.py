"""F5: any order of negotiation elements, against a model."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.negotiation import ALICE, Negotiation
from tests.fuzz.profile import budget
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State
from xmppservice.protocol.stream.machine import StreamMachine
from xmppservice.wire.element import Element

SETTINGS = settings(budget(400), stateful_step_count=20)
#: Enough to see that something is wrong; what exactly does not matter.
QUICK = settings(SETTINGS, phases=[Phase.generate], report_multiple_bugs=False)


def play(kind: type[StreamMachine], how: settings) -> None:
    """Set a machine against the model."""
    model = type("Model", (Negotiation,), {"make": kind})
    run_state_machine_as_test(model, settings=how)


def test_machine() -> None:
    """No session without a proof, no SASL before TLS where that is required, nothing behind the end, one answer."""
    play(StreamMachine, SETTINGS)


class BindsEarly(StreamMachine):
    """Sabotage: a stanza is as good as a login."""

    __slots__ = ()

    def _notAuthorized(self, element: Element) -> list[events.Ask]:
        self.jid, self.state = ALICE, State.BOUND
        return []


class ForgetsTLS(StreamMachine):
    """Sabotage: the policy is forgotten."""

    __slots__ = ()

    def _begin(self, name: str):  # type: ignore[no-untyped-def]
        self._offered = ["PLAIN", "ANONYMOUS"]
        self.secure = True
        return super()._begin(name)


class TalksOn(StreamMachine):
    """Sabotage: speaks when all is over."""

    __slots__ = ()

    def receive(self, item: object) -> list[events.Ask]:
        if self.state is State.CLOSED:
            return [events.Send(b" ")]
        return super().receive(item)


class AnswersTwice(StreamMachine):
    """Sabotage: each answer to a bind request goes out twice."""

    __slots__ = ()

    def _refuseBind(self, iq, error):  # type: ignore[no-untyped-def]
        asks = super()._refuseBind(iq, error)
        return [asks[0], *asks] if asks else asks


class CountsNothing(StreamMachine):
    """Sabotage: any number of passwords may be tried."""

    __slots__ = ()

    def _saslFailed(self, failure):  # type: ignore[no-untyped-def]
        self._tries = 9
        return super()._saslFailed(failure)


@pytest.mark.parametrize("kind", [BindsEarly, ForgetsTLS, TalksOn, AnswersTwice, CountsNothing])
def test_seesSabotage(kind: type[StreamMachine]) -> None:
    """Each of the promises, broken, is seen."""
    with pytest.raises(AssertionError):
        play(kind, QUICK)
