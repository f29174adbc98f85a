"""Rates of streams and addresses: who sends too fast is read more slowly, and loses nothing (hardening D08, D09)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.edge.doubles import Peer, TestHost, Transport, bind, boundPeer, header, logIn
from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.rates import GRAIN, Budget, Exemptions, Meter, Meters, Rates

SMALL = Rates(1000, 20_000, 10, 200, 100, 1000)
ROOMY = Rates(10**6, 10**8, 10**6, 10**8, 10**6, 10**8)
SLACK = GRAIN + 65536


def message(number: int, size: int = 100) -> str:
    """A numbered message."""
    return f"<message id='{number}'><body>{'x' * size}</body></message>"


def numbers(peer: Peer) -> list[int]:
    """What the session has received."""
    return [int(element.get("id") or -1) for element in peer.session.received]


def limited(**settings: Any) -> Peer:
    """A bound peer with small rates of its own."""
    settings.setdefault("streamRates", SMALL)
    settings.setdefault("addressRates", ROOMY)
    return boundPeer(**settings)


def another(peer: Peer, address: str = "") -> StreamDriver:
    """One more connection to the same factory."""
    transport = Transport()
    if address:
        transport.peerAddr = type("Address", (), {"host": address})()
    driver = peer.factory.buildProtocol(None)
    assert isinstance(driver, StreamDriver)
    driver.makeConnection(transport)
    return driver


# -- buckets ---------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 50), st.integers(0, 5000), st.integers(0, 50), st.integers(0, 200)), max_size=60)
)
def test_neverMoreThanRateTimesTimePlusBurst(steps: list[tuple[float, int, int, int]]) -> None:
    """Who waits as long as it is told uses no more than the burst and what has flowed in, one read apart."""
    budget, now = Budget(SMALL, 0.0), 0.0
    used = [0, 0, 0]
    for idle, *amounts in steps:
        now += idle
        for index, amount in enumerate(amounts):
            used[index] += amount
        before = [total - amount for total, amount in zip(used, amounts, strict=True)]
        assert before[0] <= SMALL.bytesBurst + now * SMALL.bytes + 1
        assert before[1] <= SMALL.stanzasBurst + now * SMALL.stanzas + 1
        assert before[2] <= SMALL.deliveriesBurst + now * SMALL.deliveries + 1
        now += budget.take(now, *amounts)


def test_debtsAreBounded() -> None:
    """Whatever came at once, the rest is no longer than a burst takes to flow in."""
    budget = Budget(SMALL, 0.0)
    assert budget.take(0.0, 10**9, 0, 0) == SMALL.bytesBurst / SMALL.bytes
    assert budget.take(20.0, 0, 0, 0) == 0


def test_addressesAreNetworks() -> None:
    """D09: an IPv6 /64 is one address, and a mapped IPv4 address is that IPv4 address."""
    meters = Meters(ROOMY, SMALL, lambda: 0.0)
    assert meters.meter("2001:db8::1").take(30_000) > 0
    assert meters.meter("2001:db8::ffff:2").take() > 0
    assert meters.meter("2001:db8:0:1::1").take() == 0
    assert meters.meter("192.0.2.1").take(30_000) > 0
    assert meters.meter("::ffff:192.0.2.1").take() > 0
    assert meters.meter("192.0.2.2").take() == 0


def test_addressesAreForgotten() -> None:
    """D11: a hundred thousand networks cost no more than the table's size; the latest are kept."""
    meters = Meters(ROOMY, SMALL, lambda: 0.0, 1000)
    for number in range(100_000):
        meters.meter(f"2001:db8:{number >> 16:x}:{number & 65535:x}::1").take(30_000)
    assert len(meters) == 1000
    assert meters.meter(f"2001:db8:1:{99_999 & 65535:x}::2").take() > 0


def test_exemptions() -> None:
    """Networks, single addresses, mapped addresses; what is neither is refused when it is read."""
    exempt = Exemptions(("192.0.2.0/24", "2001:db8::1", "198.51.100.7"))
    for address in ("192.0.2.9", "::ffff:192.0.2.9", "2001:db8::1", "198.51.100.7"):
        assert address in exempt
    for address in ("192.0.3.1", "2001:db8::2", "", "unix", "fe80::1%eth0"):
        assert address not in exempt
    with pytest.raises(ValueError):
        Exemptions(("example.com",))


# -- streams ---------------------------------------------------------------------------------------


def test_withinTheBudgetNothingStops() -> None:
    """A burst goes through at once."""
    peer = limited()
    peer.say("".join(message(number) for number in range(100)))
    assert numbers(peer) == list(range(100))
    assert peer.transport.producerState == "producing" and peer.factory.throttled == 0


def test_pausedInOrderAndWithinTheBound() -> None:
    """D08: bytes stay under rate × time + burst, nothing is lost, and the order is kept."""
    peer = limited()
    sent, taken = 0, 0
    while peer.clock.seconds() < 120:
        while peer.transport.producerState == "producing":
            assert sent < 10_000, "it is never paused"
            peer.say("".join(message(number) for number in range(sent, sent + 20)))
            sent += 20
        got = numbers(peer)
        assert got == list(range(len(got)))
        bound = SMALL.bytesBurst + peer.clock.seconds() * SMALL.bytes + SLACK
        taken = sum(len(message(number)) for number in got)
        assert taken <= bound
        peer.clock.advance(1.0)
    assert peer.factory.throttled > 5
    assert len(numbers(peer)) == sent and taken > 120 * SMALL.bytes * 0.9
    assert not peer.transport.disconnecting and peer.session.calls == []


def test_smallStanzasAreCounted() -> None:
    """Few bytes each, and many: acknowledgement requests stop a stream by their number."""
    peer = limited(streamRates=Rates(10**6, 10**8, 10, 200, 100, 1000))
    peer.say("<r xmlns='urn:xmpp:sm:3'/>" * 300)
    assert peer.transport.producerState == "paused"
    peer.clock.advance(9.5)
    assert peer.transport.producerState == "paused"
    peer.clock.advance(1.5)
    assert peer.transport.producerState == "producing"


def test_toldOnce() -> None:
    """An operator can see who is slowed: a line with the address, once for each stream."""
    heard: list[LogEvent] = []
    globalLogPublisher.addObserver(heard.append)
    try:
        peer = limited()
        for start in (0, 1000):
            peer.say("".join(message(start + number, 1) for number in range(400)))
            peer.advance(120)
    finally:
        globalLogPublisher.removeObserver(heard.append)
    assert peer.factory.throttled > 1
    (event,) = [event for event in heard if "over its rate" in str(event.get("log_format"))]
    assert event["address"] == peer.driver.peer and event["who"] == peer.session.jid.full


def test_whiteSpaceIsCounted() -> None:
    """D08: a megabyte of nothing costs what a megabyte costs."""
    peer = limited()
    peer.say(" " * 40_000)
    assert peer.transport.producerState == "paused"


def test_oneReadLargerThanTheBurst() -> None:
    """A debt is waited out: nothing that was read gets stuck."""
    peer = limited(streamRates=Rates(10_000, 4096, 10, 1000, 100, 1000))
    peer.say("".join(message(number, 1000) for number in range(60)))
    assert peer.transport.producerState == "paused"
    peer.advance(10)
    assert peer.transport.producerState == "producing"
    assert numbers(peer) == list(range(60))
    peer.say(message(60))
    assert numbers(peer)[-1] == 60


def test_beforeAuthentication() -> None:
    """Strangers are read as slowly, from the first grain on, and the deadline ends them all the same."""
    peer = Peer(streamRates=SMALL, addressRates=ROOMY)
    peer.say(header())
    peer.say(" " * 40_000)
    assert peer.transport.producerState == "paused"
    peer.advance(29)
    assert not peer.transport.disconnecting
    peer.advance(35)
    assert peer.transport.disconnecting


def test_dataBehindAPauseWaits() -> None:
    """What the transport still had comes later, behind what was there; the stream can end behind it."""
    peer = limited()
    peer.say("".join(message(number) for number in range(200)) + " " * 20_000)
    seen = len(numbers(peer))
    peer.say(message(200) + "</stream:stream>")
    assert len(numbers(peer)) == seen
    peer.advance(60)
    assert numbers(peer) == list(range(201))
    assert peer.session.calls == ["closed"]


def test_connectionLostDuringARest() -> None:
    """What was read before the connection broke was said, also by a stream that rests."""
    peer = limited()
    peer.say("".join(message(number) for number in range(200)) + " " * 20_000)
    peer.say(message(200) + message(201))
    peer.driver.connectionLost(Failure(ConnectionDone()))
    assert numbers(peer) == list(range(202))
    assert peer.session.calls == ["lost"]
    assert not peer.clock.getDelayedCalls()


def test_closingDuringARest() -> None:
    """Our own end of a stream reads again: the peer's closing tag is waited for, the rest is dropped."""
    peer = limited()
    peer.say(" " * 40_000)
    peer.say(message(1))
    peer.driver.close()
    assert peer.transport.producerState == "producing"
    assert peer.heard().endswith("</stream:stream>")
    peer.say("</stream:stream>")
    assert peer.transport.disconnecting
    assert numbers(peer) == []


def test_shuttingDownDuringARest() -> None:
    """The server stops: a stream that rests hears of it like all others, and no timer is left of it."""
    peer = limited()
    peer.say(" " * 40_000)
    peer.factory.shutDown()
    assert "system-shutdown" in peer.heard()
    assert peer.session.calls[0] == "shutdown"
    peer.driver.connectionLost(Failure(ConnectionDone()))
    assert not [call for call in peer.clock.getDelayedCalls() if call.getTime() > peer.clock.seconds()]


def test_aRestIsNoSilence() -> None:
    """Who cannot be heard is neither asked for a sign of life nor given up."""
    peer = limited(streamRates=Rates(1000, 500_000, 10, 200, 100, 1000), silence=10.0, silenceAnswer=5.0)
    peer.say(" " * 900_000)
    peer.advance(200)
    assert peer.transport.producerState == "paused"
    assert peer.session.calls == []
    peer.advance(250)
    assert peer.session.calls[:1] == ["probe"]


def test_aSessionsOwnPauseOutlastsTheRest() -> None:
    """Both reasons must be gone before anything is taken."""
    peer = limited()
    peer.driver.pause()
    peer.say(message(1) + " " * 40_000)
    peer.driver.resume()
    peer.clock.advance(0)
    assert numbers(peer) == []
    peer.driver.pause()
    peer.advance(100)
    assert numbers(peer) == []
    assert peer.transport.producerState == "paused"
    peer.driver.resume()
    peer.clock.advance(0)
    assert numbers(peer) == [1]
    assert peer.transport.producerState == "producing"


def test_deliveriesStopInTheMidstOfARead() -> None:
    """R17: each stanza that goes to many is charged at once, so a read full of them does not run through."""
    peer = limited()
    peer.session.onReceive = lambda element: peer.driver.charge(600)
    peer.say("".join(message(number) for number in range(50)))
    assert len(numbers(peer)) == 2
    peer.advance(60)
    assert 8 <= len(numbers(peer)) <= 14
    peer.advance(300)
    assert numbers(peer) == list(range(50))


def test_limitsOff() -> None:
    """A test bed is not slowed, and neither is who is exempt."""
    for settings in ({"enabled": False}, {"exempt": Exemptions(("192.168.1.1",))}):
        peer = limited(**settings)
        assert peer.driver.peer == "192.168.1.1"
        for _ in range(20):
            peer.say(" " * 100_000)
        peer.driver.charge(10**6)
        assert peer.transport.producerState == "producing"


def test_fewBigNumbersOfAFreeStream() -> None:
    """The counter of a stream without limits is renewed when it runs out."""
    peer = limited(enabled=False)
    peer.driver.charge(1 << 24)
    peer.say(message(1))
    assert numbers(peer) == [1] and peer.transport.producerState == "producing"


# -- addresses -------------------------------------------------------------------------------------


def test_streamsOfOneAddressShareABudget() -> None:
    """Two streams use up what their address has; another address is not concerned."""
    peer = limited(streamRates=ROOMY, addressRates=SMALL)
    other = another(peer)
    stranger = another(peer, "192.0.2.7")
    peer.say(" " * 40_000)
    other.dataReceived(b" " * 20_000)
    stranger.dataReceived(b" " * 17_000)
    assert [d.transport.producerState for d in (peer.driver, other, stranger)] == ["paused", "paused", "producing"]
    peer.advance(200)
    assert peer.transport.producerState == "producing"


def test_connectingAgainDoesNotHelp() -> None:
    """A debt stays with the address: a new connection from there rests from its beginning."""
    peer = limited(streamRates=ROOMY, addressRates=SMALL)
    peer.say(" " * 40_000)
    peer.driver.connectionLost(Failure(ConnectionDone()))
    again = another(peer)
    assert again.transport.producerState == "paused"
    peer.advance(20)
    assert again.transport.producerState == "producing"


def test_smallChangeIsPaidAtTheEnd() -> None:
    """Many short connections, each below one grain, use up the address's budget too."""
    peer = limited(streamRates=ROOMY, addressRates=SMALL)
    states = []
    for _ in range(10):
        driver = another(peer)
        states.append(driver.transport.producerState)
        driver.dataReceived(b" " * 5000)
        driver.connectionLost(Failure(ConnectionDone()))
    assert states[0] == "producing" and states[-1] == "paused"


def test_movedBehindAProxy() -> None:
    """The address that the proxy tells is the one that pays."""
    peer = limited(streamRates=ROOMY, addressRates=SMALL)
    driver = another(peer)
    driver.transport.peerAddr = type("Address", (), {"host": "192.0.2.9"})()
    driver.dataReceived(b" " * 40_000)
    assert driver.transport.producerState == "paused"
    assert another(peer, "192.0.2.9").transport.producerState == "paused"
    assert another(peer).transport.producerState == "producing"


def test_reloadedRates() -> None:
    """New rates hold for new streams."""
    peer = limited(streamRates=ROOMY, addressRates=ROOMY)
    settings = peer.factory.settings
    peer.factory.refresh(type(settings)(streamRates=SMALL, addressRates=ROOMY, tls="optional"))
    peer.say(" " * 40_000)
    assert peer.transport.producerState == "producing"
    driver = another(peer)
    driver.dataReceived(b" " * 40_000)
    assert driver.transport.producerState == "paused"


def test_meterTakesFromBoth() -> None:
    """The longer wait of the two counts."""
    clock = Clock()
    own, address = Budget(SMALL, 0.0), Budget(Rates(500, 20_000, 10, 200, 100, 1000), 0.0)
    meter = Meter(own, address, clock.seconds)
    assert meter.take(21_000) == 2.0


def test_startTLSAndRestartKeepTheBudget() -> None:
    """The rates of a stream do not begin anew behind a login."""
    peer = Peer(streamRates=SMALL, addressRates=ROOMY, host=TestHost())
    peer.say(" " * 19_000)
    logIn(peer)
    peer.say(header())
    peer.say(bind("desk"))
    peer.say(" " * 16_500)
    assert peer.transport.producerState == "paused"
