"""Recorded client sessions, and what the seed makes of them: `script` is a function of seed and number alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.fuzz.examples import stanzas, trees
from tests.fuzz.mutate import NASTY_TEXT, Chance, mutateBytes, mutateTags, mutateTree
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.serializer import serialize

DOMAIN = "localhost"
PASSWORD = "secret"
USERS = tuple(f"user{number}" for number in range(64))
NONCE = "fuzz0123456789abcdef"
FOOTER = b"</stream:stream>"
BREAKER = b"]]>\"'><<>"
"""Whatever was open before: behind this nothing is well-formed."""

_HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='localhost' version='1.0' xml:lang='en'>"
)
_STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
_ANONYMOUS = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>=</auth>"
_RESPONSE = b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>biws</response>"
_REGISTER = b"<iq type='get' id='reg'><query xmlns='jabber:iq:register'/></iq>"
_SM = "urn:xmpp:sm:3"

SERVED = (
    "<query xmlns='jabber:iq:roster'><item jid='{contact}' name='n'><group>g</group></item></query>",
    "<query xmlns='jabber:iq:roster'><item jid='{contact}' subscription='remove'/></query>",
    "<query xmlns='jabber:iq:roster'/>", "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>",
    "<query xmlns='http://jabber.org/protocol/disco#info'/>", "<query xmlns='http://jabber.org/protocol/disco#items'/>",
    "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:version'/>", "<time xmlns='urn:xmpp:time'/>",
    "<query xmlns='jabber:iq:last'/>", "<query xmlns='jabber:iq:register'/>",
    "<query xmlns='jabber:iq:register'><username>user1</username><password>secret</password></query>",
    "<vCard xmlns='vcard-temp'><FN>x</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>AAAA</BINVAL></PHOTO></vCard>",
    "<vCard xmlns='vcard-temp'/>", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'><y/></x></query>",
    "<block xmlns='urn:xmpp:blocking'><item jid='{contact}'/></block>", "<unblock xmlns='urn:xmpp:blocking'/>",
    "<unblock xmlns='urn:xmpp:blocking'><item jid='{contact}'/></unblock>", "<blocklist xmlns='urn:xmpp:blocking'/>",
    "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>",
    "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource></bind>",
)  # fmt: skip
"""Payloads of IQs that some module serves."""

_OTHERS = (
    "<presence><priority>1</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>"
    "</presence>",
    "<presence type='subscribe' to='{contact}'/>", "<presence type='subscribed' to='{contact}'/>",
    "<presence type='unsubscribe' to='{contact}'/>", "<presence type='unsubscribed' to='{contact}'/>",
    "<presence to='{contact}/r'/>", "<presence type='unavailable'/>", "<presence type='probe' to='{contact}'/>",
    "<message to='{contact}' type='chat' id='m'><body>Hello</body><active xmlns='urn:x'/></message>",
    "<message to='{contact}/r' type='normal'><body xml:lang='de'>x</body><subject>s</subject></message>",
    "<message to='{contact}' type='headline'><body>x</body></message>", "<message to='{contact}' type='groupchat'/>",
    "<message to='{contact}'><store xmlns='urn:xmpp:hints'/><origin-id xmlns='urn:xmpp:sid:0' id='o'/></message>",
    "<r xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='0'/>", "<enable xmlns='urn:xmpp:sm:3' resume='true'/>",
)  # fmt: skip


@dataclass
class Step:
    """Bytes to send, in pieces, once the server has said `after`."""

    pieces: list[bytes]
    after: bytes = b""


@dataclass
class Script:
    """One or two connections of one client, all bytes decided.

    `strict`: every byte is well-formed XML, so the answer to the last ping, or a stream error, must come. `asked` are
    the ids of requests that the server itself has to answer exactly once. `end` says how the client leaves.
    """

    kind: str
    user: str = ""
    steps: list[Step] = field(default_factory=list)
    second: list[Step] = field(default_factory=list)
    strict: bool = False
    asked: list[str] = field(default_factory=list)
    end: str = "footer"
    number: int = 0

    @property
    def last(self) -> str:
        """The id of the ping at the end. No other client has it: answers go to addresses, and those are used again."""
        return f"fin{self.number}"


def ping(id: str) -> bytes:
    """XEP-0199."""
    return f"<iq type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>".encode()


def scramFirst(user: str) -> bytes:
    """The first message of SCRAM-SHA-1 as an ``<auth/>``."""
    from base64 import b64encode

    data = b64encode(f"n,,n={user},r={NONCE}".encode())
    return b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>" + data + b"</auth>"


def bind(resource: str) -> bytes:
    """RFC 6120 section 7."""
    return f"<iq type='set' id='bind'><bind xmlns='{ns.BIND}'><resource>{resource}</resource></bind></iq>".encode()


def parsed(text: str) -> Element:
    """XML in the client namespace as an element."""
    from tests.fuzz.examples import HEADER, ROOMY
    from xmppservice.wire.parser import StreamParser

    item = StreamParser(ROOMY).feed(HEADER + text.encode())[-1][0]
    assert isinstance(item, Element), text
    return item


def script(seed: int, number: int) -> Script:
    """What client number so-and-so does."""
    chance = random.Random(f"{seed}:{number}")
    kind = chance.random()
    if kind < 0.25:
        return _stranger(chance, number)
    level = chance.choice(("tree", "tree", "tree", "tags", "bytes"))
    user = chance.choice(USERS) if kind < 0.65 else ""
    made = Script(f"{'scram' if user else 'guest'}-{level}", user, strict=level == "tree", number=number)
    made.end = chance.choice(("footer", "half", "abort") if level == "tree" else ("breaker", "quiet"))
    body = _body(chance, made, level)
    login = _HEADER + (scramFirst(user) if user else _ANONYMOUS)
    opened = _HEADER + bind(f"r{chance.randrange(4)}")
    if not user:
        made.steps = [Step(_pieces(login + opened + b"<presence/>" + body, chance))]
        return made
    made.steps = [Step([login]), Step(_pieces(opened + b"<presence/>" + body, chance), b"</challenge>")]
    if chance.random() < 0.12:
        _resuming(made, opened, login, body, chance)
    return made


def _resuming(made: Script, opened: bytes, login: bytes, body: bytes, chance: Chance) -> None:
    """The connection is cut after ``<enabled/>`` and some stanzas; a second one resumes (XEP-0198 section 5)."""
    made.kind += "-resume"
    enable = b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
    made.steps[1] = Step([opened + b"<presence/>" + enable + b"<message to='user1@localhost'><body>x</body></message>"],
                         b"</challenge>")  # fmt: skip
    made.steps.append(Step([], b"<enabled "))
    count = chance.choice(("0", "1", "2", "5", "4294967295", "x", ""))
    resume = f"<resume xmlns='{_SM}' previd='@PREVID@' h='{count}'/>".encode()
    if chance.random() < 0.3:
        resume = mutateTags(resume, chance, 1)
        made.strict = False
        made.end = "breaker"
    if made.end == "breaker" and not body.endswith(BREAKER):
        body += BREAKER
    made.second = [Step([login]), Step(_pieces(_HEADER + resume + body, chance), b"</challenge>")]
    # What is resumed may have answered already, or may be refused: nothing is promised for single requests.
    made.asked.clear()


def _stranger(chance: Chance, number: int) -> Script:
    """A client that does not get as far as a session."""
    parts = [_HEADER]
    for _ in range(chance.randint(0, 3)):
        parts.append(chance.choice((
            _STARTTLS, _ANONYMOUS, _RESPONSE, _REGISTER, scramFirst("user1"), bind("x"), ping("x"), _HEADER, FOOTER,
            b"<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", serialize(chance.choice(trees())),
        )))  # fmt: skip
    data = b"".join(parts)
    mutated = (mutateBytes if chance.random() < 0.5 else mutateTags)(data, chance, chance.randint(1, 4))
    made = Script("stranger", number=number, end=chance.choice(("breaker", "breaker", "quiet")))
    made.steps = [Step(_pieces(mutated + (BREAKER if made.end == "breaker" else b""), chance))]
    return made


def _body(chance: Chance, made: Script, level: str) -> bytes:
    parts: list[bytes] = []
    for number in range(chance.randint(1, 4)):
        stanza = fromClient(chance)
        if level == "tree":
            stanza = mutateTree(stanza, chance, chance.randint(0, 3))
            _identify(stanza, f"q{made.number}-{number}", made)
        parts.append(serialize(stanza))
    data = b"".join(parts) + ping(made.last)
    if level == "tree":
        return data
    count = chance.randint(1, 4)
    data = mutateTags(data, chance, count) if level == "tags" else mutateBytes(data, chance, count)
    return data + BREAKER if made.end == "breaker" else data


def _identify(stanza: Element, id: str, made: Script) -> None:
    """Give a request an id of its own, and note it if the server itself has to answer."""
    if stanza.ns != ns.CLIENT or stanza.name != "iq":
        return
    if stanza.get("id"):
        stanza.attrs["id"] = id
        if stanza.get("type") in ("get", "set") and stanza.get("to") in (None, DOMAIN):
            made.asked.append(id)


def fromClient(chance: Chance) -> Element:
    """A stanza as a client might send it to this server."""
    contact = chance.choice((*(f"{user}@{DOMAIN}" for user in USERS), "nobody@localhost", "x@other.example", DOMAIN))
    choice = chance.random()
    if choice < 0.4:
        payload = chance.choice(SERVED).format(contact=contact)
        to = chance.choice(("", "", "", f" to='{DOMAIN}'", f" to='{contact}'"))
        return parsed(f"<iq type='{chance.choice(('get', 'set'))}' id='q'{to}>{payload}</iq>")
    if choice < 0.65:
        return parsed(chance.choice(_OTHERS).format(contact=contact))
    stanza = chance.choice(stanzas()).copy()
    if chance.random() < 0.9:
        stanza.attrs.pop("from", None)
    if chance.random() < 0.8:
        stanza.attrs["to"] = chance.choice((DOMAIN, contact, contact + "/r1", chance.choice(NASTY_TEXT)))
    return stanza


def _pieces(data: bytes, chance: Chance) -> list[bytes]:
    """Now and then the network delivers in pieces."""
    if chance.random() < 0.7 or len(data) < 2:
        return [data]
    cuts = sorted({chance.randrange(1, len(data)) for _ in range(chance.randint(1, 3))})
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
