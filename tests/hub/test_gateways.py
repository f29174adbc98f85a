"""What a gateway behind us needs of the server (XEP-0100): it has the presence of users, and gives them its own."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.hub.kit import manage
from xmppservice.hub.component import ComponentPort
from xmppservice.protocol.escaping import escape
from xmppservice.protocol.subscription import FROM, TO
from xmppservice.testing.client import MemoryClient, MemoryStream
from xmppservice.testing.server import MemoryServer
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import parseDocument
from xmppservice.wire.serializer import serialize

GATEWAY = "aim.localhost"
#: Somebody in the other network, whose name there has characters that no local part has (XEP-0106).
NURSE = escape("nurse@capulet's") + "@" + GATEWAY
MODULES = (
    "blocking", "contact_info", "disco", "entity_time", "last_activity", "offline", "ping", "private_xml", "register",
    "roster", "stanza_ids", "stream_management", "vcard", "version",
)  # fmt: skip
REGISTRATION = "<query xmlns='jabber:iq:register'><username>romeo1</username><password>p&amp;'</password></query>"


def brief(stanza: Element) -> tuple[str | None, str | None, str | None]:
    """Type, sender and addressee of presence; of other stanzas, their names instead of the type."""
    kind = stanza.get("type") if stanza.name == "presence" else stanza.name
    return kind, stanza.get("from"), stanza.get("to")


class GatewayTests(SynchronousTestCase):
    """Romeo's two clients, and a gateway that says what each test wants it to."""

    def setUp(self) -> None:
        """All modules that answer requests are on, so that they could take what is not theirs."""
        self.server = MemoryServer(modules=MODULES, options={"register": {"open": True}})
        self.addCleanup(self.server.stop)
        self.port = ComponentPort(GATEWAY, lambda: self.server.host)
        self.server.router.destinations[GATEWAY] = self.port
        self.connect()
        self.romeo = self.server.client("romeo/orchard")
        self.romeo.query("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        self.account = self.server.account("romeo")

    def connect(self) -> None:
        """The gateway connects."""
        self.stream = MemoryStream()
        self.link = self.port.join(self.stream)

    def say(self, text: str) -> None:
        """The gateway sends a stanza."""
        self.link.receive(parseDocument(f"<x xmlns='jabber:client'>{text}</x>".encode()).elements()[0])

    def heard(self) -> list[Element]:
        """What the gateway has got since last time."""
        stanzas = list(self.stream.received)
        self.stream.received.clear()
        return stanzas

    def heardOnly(self, *wanted: tuple[str | None, str | None, str | None]) -> None:
        """Exactly this, in brief and in any order, is what the gateway has got since last time."""
        self.assertCountEqual([brief(stanza) for stanza in self.heard()], wanted)

    def befriend(self, *contacts: str) -> None:
        """Romeo and these have each other's presence, as after the registration."""
        for contact in contacts:
            self.account.setState(contact, 32 | FROM | TO)

    def subscription(self, contact: str) -> str | None:
        """The state that Romeo's roster shows."""
        reply = self.romeo.query("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        items = {item.get("jid"): item.get("subscription") for item in reply.elements()[0].elements()}
        return items.get(contact)

    # -- registration (4.1 to 4.3) ---------------------------------------------------------------

    def test_requestsPass(self) -> None:
        """4.1.1: what Romeo asks the gateway, or somebody behind it, is the gateway's, whatever our modules answer."""
        payloads = (
            "<query xmlns='jabber:iq:register'/>", REGISTRATION, "<query xmlns='jabber:iq:register'><remove/></query>",
            "<query xmlns='jabber:iq:gateway'><prompt>Foo Bar</prompt></query>", "<vCard xmlns='vcard-temp'/>",
            f"<query xmlns='{ns.DISCO_INFO}'/>", f"<query xmlns='{ns.DISCO_ITEMS}'/>", "<ping xmlns='urn:xmpp:ping'/>",
            "<query xmlns='jabber:iq:version'/>", "<query xmlns='jabber:iq:roster'/>",
            "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>", "<blocklist xmlns='urn:xmpp:blocking'/>",
            "<command xmlns='http://jabber.org/protocol/commands' node='configure' action='execute'/>",
        )  # fmt: skip
        for to in (GATEWAY, f"{GATEWAY}/registered", NURSE, f"{NURSE}/x y"):
            for kind in ("get", "set"):
                for payload in payloads:
                    self.romeo.send(f"<iq type='{kind}' id='1' to=\"{to}\">{payload}</iq>")
                    (iq,) = self.heard()
                    self.assertEqual((iq.get("from"), iq.get("to"), iq.get("type")), (self.romeo.jid.full, to, kind))
                    wanted = parseDocument(f"<x xmlns='jabber:client'>{payload}</x>".encode()).elements()[0]
                    self.assertEqual(serialize(iq.elements()[0]), serialize(wanted))
                    self.say(
                        f"<iq type='result' id='1' from=\"{to}\" to='{self.romeo.jid.full}'><x xmlns='urn:x'/></iq>"
                    )
                    (answer,) = self.romeo.take()
                    self.assertEqual((answer.get("from"), answer.get("type")), (to, "result"))

    def test_register(self) -> None:
        """4.1.1, 8 to 14: subscriptions in both directions with the bare domain; presence goes as soon as it may."""
        self.romeo.available()
        self.romeo.take()
        self.say(f"<presence type='subscribe' from='{GATEWAY}' to='romeo@localhost'/>")
        self.assertEqual(brief(self.romeo.next("presence")), ("subscribe", GATEWAY, "romeo@localhost"))
        self.romeo.send(f"<presence type='subscribed' to='{GATEWAY}'/>")
        self.heardOnly(("subscribed", "romeo@localhost", GATEWAY), (None, self.romeo.jid.full, GATEWAY))
        self.assertEqual(self.subscription(GATEWAY), "from")
        self.romeo.send(f"<presence type='subscribe' to='{GATEWAY}'/>")
        self.heardOnly(("subscribe", "romeo@localhost", GATEWAY))
        self.romeo.take()
        self.say(f"<presence type='subscribed' from='{GATEWAY}' to='romeo@localhost'/>")
        self.assertEqual(self.subscription(GATEWAY), "both")
        self.say(f"<presence from='{GATEWAY}' to='romeo@localhost'/>")
        self.assertIn((None, GATEWAY, "romeo@localhost"), map(brief, self.romeo.take()))

    def test_unregister(self) -> None:
        """4.3.1: the gateway takes its subscriptions back."""
        self.befriend(GATEWAY)
        self.romeo.available()
        self.heard()
        self.romeo.take()
        self.say(f"<presence type='unsubscribe' from='{GATEWAY}' to='romeo@localhost'/>")
        self.say(f"<presence type='unsubscribed' from='{GATEWAY}' to='romeo@localhost'/>")
        self.say(f"<presence type='unavailable' from='{GATEWAY}' to='romeo@localhost'/>")
        self.assertEqual(self.subscription(GATEWAY), "none")
        # RFC 6121 A.3.3 [1]: the server replies to "unsubscribe" by itself.
        self.heardOnly(("unavailable", self.romeo.jid.full, GATEWAY), ("unsubscribed", "romeo@localhost", GATEWAY))
        self.romeo.send("<presence><show>away</show></presence>")
        self.assertEqual(self.heard(), [])

    # -- presence (4.4, 4.5) ---------------------------------------------------------------------

    def test_logIn(self) -> None:
        """4.4.1: initial presence of each client reaches the gateway and all behind it, with probes for their own."""
        self.befriend(GATEWAY, NURSE)
        for client in (self.romeo, self.server.client("romeo/balcony")):
            client.available()
            self.heardOnly(
                (None, client.jid.full, GATEWAY), (None, client.jid.full, NURSE),
                ("probe", "romeo@localhost", GATEWAY), ("probe", "romeo@localhost", NURSE),
            )  # fmt: skip
        self.romeo.send("<presence><show>dnd</show><status>Wooing</status></presence>")
        heard = self.heard()
        self.assertEqual({stanza.get("to") for stanza in heard}, {GATEWAY, NURSE})
        self.assertEqual([[child.text for child in stanza.elements()] for stanza in heard], [["dnd", "Wooing"]] * 2)

    def test_presenceFromBehind(self) -> None:
        """4.4.1, 5: presence of people behind the gateway reaches every available client, with or without resource."""
        self.romeo.available()
        other = self.server.client("romeo/balcony", available=True)
        self.romeo.take()
        for sender in (NURSE, f"{NURSE}/phone"):
            self.say(f"<presence from=\"{sender}\" to='romeo@localhost'><show>away</show></presence>")
            for client in (self.romeo, other):
                self.assertEqual(brief(client.next("presence")), (None, sender, "romeo@localhost"))

    def leave(self, how: str, client: MemoryClient) -> None:
        """End a session."""
        if how == "presence":
            client.send("<presence type='unavailable'/>")
        elif how == "stream":
            client.close()
        else:
            client.lose()

    def test_logOut(self) -> None:
        """4.5.1: however Romeo goes, the gateway learns it: by subscription and where he only directed presence to."""
        self.befriend(GATEWAY)
        for how in ("presence", "stream", "connection"):
            client = self.server.client(f"romeo/{how}")
            client.available()
            client.send(f"<presence to='{NURSE}'/><presence to='{GATEWAY}/x'/>")
            self.heard()
            self.leave(how, client)
            # A resource of the gateway itself has it by the subscription of the domain (RFC 6121 4.6.3).
            self.heardOnly(("unavailable", client.jid.full, GATEWAY), ("unavailable", client.jid.full, NURSE))

    def test_logOutLater(self) -> None:
        """A session that can be resumed (XEP-0198) is not gone until it cannot be resumed any more."""
        self.befriend(GATEWAY)
        client = self.server.client("romeo/train")
        manage(client)
        client.available()
        self.heard()
        client.lose()
        self.assertEqual(self.heard(), [])
        self.server.advance(3600)
        self.heardOnly(("unavailable", client.jid.full, GATEWAY))

    def test_directedOnly(self) -> None:
        """4.4.1, 4.5.2: presence and its end, directed to a room or a contact, without any subscription."""
        self.romeo.send(f"<presence to='#room@{GATEWAY}/romeo'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        self.heardOnly((None, self.romeo.jid.full, f"#room@{GATEWAY}/romeo"))
        self.romeo.send(f"<presence type='unavailable' to='#room@{GATEWAY}/romeo'/>")
        self.heardOnly(("unavailable", self.romeo.jid.full, f"#room@{GATEWAY}/romeo"))
        self.romeo.close()
        self.assertEqual(self.heard(), [])

    # -- probes and errors -----------------------------------------------------------------------

    def probe(self, user: str, answer: str | None, source: str, sender: str = GATEWAY) -> None:
        """The gateway asks for somebody's presence, as it does when it starts (8, 6); what it has to hear."""
        self.say(f"<presence type='probe' from=\"{sender}\" to='{user}@localhost'/>")
        self.heardOnly((answer, source, sender))

    def test_probes(self) -> None:
        """RFC 6121 4.3.2: the gateway gets the presence of its users, and of nobody else."""
        self.befriend(GATEWAY)
        self.probe("romeo", "unavailable", "romeo@localhost")
        self.romeo.available()
        self.heard()
        self.probe("romeo", None, self.romeo.jid.full)
        self.server.client("juliet/balcony", available=True)
        for user in ("juliet", "nobody"):
            self.probe(user, "unsubscribed", f"{user}@localhost")
        self.probe("romeo", "unsubscribed", "romeo@localhost", NURSE)

    def test_restart(self) -> None:
        """8, 6: a gateway that was away when Romeo came finds him by a probe; he had no error for what he broadcast."""
        self.befriend(GATEWAY)
        self.link.streamLost()
        self.romeo.available()
        self.assertEqual({stanza.get("from") for stanza in self.romeo.take()}, {self.romeo.jid.full})
        self.connect()
        self.say(f"<presence from='{GATEWAY}' to='romeo@localhost'/>")
        self.assertEqual(brief(self.romeo.next("presence"))[1], GATEWAY)
        self.probe("romeo", None, self.romeo.jid.full)

    def test_failedLogIn(self) -> None:
        """4.4.2: the gateway says why it cannot log in, to one client or to all; others may not bother them so."""
        self.befriend(GATEWAY)
        self.romeo.available()
        other = self.server.client("romeo/balcony", available=True)
        self.romeo.take()
        error = f"<error type='auth'><not-authorized xmlns='{ns.STANZA_ERRORS}'/></error>"
        self.say(f"<presence type='error' from='{GATEWAY}' to='{other.jid.full}'>{error}</presence>")
        self.assertEqual([brief(stanza)[0] for stanza in other.take()], ["error"])
        self.assertEqual(self.romeo.take(), [])
        self.say(f"<presence type='error' from='{GATEWAY}' to='romeo@localhost'>{error}</presence>")
        for client in (self.romeo, other):
            self.assertEqual([brief(stanza)[0] for stanza in client.take()], ["error"])
        self.say(f"<presence type='error' from='{NURSE}' to='romeo@localhost'>{error}</presence>")
        self.assertEqual(self.romeo.take(), [])

    # -- contacts and messages (4.6 to 4.8, 5) ---------------------------------------------------

    def test_contacts(self) -> None:
        """4.6, 4.7: somebody behind the gateway is added and removed like any contact, under the escaped address."""
        self.romeo.available()
        self.romeo.send(f"<presence type='subscribe' to=\"{NURSE}\"/>")
        self.heardOnly(("subscribe", "romeo@localhost", NURSE))
        self.say(f"<presence type='subscribed' from=\"{NURSE}\" to='romeo@localhost'/>")
        self.say(f"<presence type='subscribe' from=\"{NURSE}\" to='romeo@localhost'/>")
        self.romeo.send(f"<presence type='subscribed' to=\"{NURSE}\"/>")
        self.assertEqual(self.subscription(NURSE), "both")
        self.heard()
        self.romeo.query(
            f"<iq type='set' id='x'><query xmlns='jabber:iq:roster'><item jid=\"{NURSE}\" subscription='remove'/>"
            "</query></iq>"
        )
        self.heardOnly(
            ("unsubscribe", "romeo@localhost", NURSE), ("unsubscribed", "romeo@localhost", NURSE),
            ("unavailable", self.romeo.jid.full, NURSE),
        )  # fmt: skip
        self.assertIsNone(self.subscription(NURSE))

    def test_escapedAddresses(self) -> None:
        r"""XEP-0106 sections 2 and 4.1: the server neither escapes nor unescapes, and compares what is on the wire."""
        for local in (r"a\40b", r"a\5c40b", r"a\41b", "a%b", r"\2e", "#a!~b"):
            self.romeo.send(f"<message to='{local}@{GATEWAY}/R \\40' id='1'><body>x</body></message>")
            (message,) = self.heard()
            self.assertEqual(message.get("to"), rf"{local}@{GATEWAY}/R \40")
            self.say(f"<message from='{local}@{GATEWAY}' to='romeo@localhost/orchard' id='2'><body>x</body></message>")
            self.assertEqual(self.romeo.next("message").get("from"), f"{local}@{GATEWAY}")
        self.romeo.send(f"<message to='A\\2FB@{GATEWAY}' id='1'><body>x</body></message>")
        self.assertEqual(self.heard()[0].get("to"), rf"a\2fb@{GATEWAY}")
        self.befriend(rf"a\40b@{GATEWAY}")
        self.assertFalse(self.account.roster.get(rf"a\5c40b@{GATEWAY}", 0))
        for broken in (f"a@b@{GATEWAY}", f"a b@{GATEWAY}"):
            self.romeo.send(f"<message to='{broken}' id='1'><body>x</body></message>")
            self.assertEqual(self.romeo.next("message").get("type"), "error")
        self.assertEqual(self.heard(), [])
