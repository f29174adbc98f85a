"""The modules that come with the server: one line each, data only."""

from xmppservice.hub.module import ModuleMaker

establishing = ModuleMaker(
    "establishing", "xmppservice.modules.establishing", "the session of RFC 3921, no second resource", default=True
)
roster = ModuleMaker("roster", "xmppservice.modules.roster", "contact lists (RFC 6121)", default=True)
offline = ModuleMaker("offline", "xmppservice.modules.offline", "messages for who is away (XEP-0160)", default=True)
sm = ModuleMaker(
    "stream_management", "xmppservice.modules.stream_management", "acknowledgements (XEP-0198)", default=True
)
disco = ModuleMaker("disco", "xmppservice.modules.disco", "what there is (XEP-0030, XEP-0128)", default=True)
caps = ModuleMaker("caps", "xmppservice.modules.caps", "a hash of what there is (XEP-0115)", default=True)
ping = ModuleMaker("ping", "xmppservice.modules.ping", "signs of life (XEP-0199)", default=True)
version = ModuleMaker("version", "xmppservice.modules.version", "name and version (XEP-0092)", default=True)
entity_time = ModuleMaker("entity_time", "xmppservice.modules.entity_time", "what time it is (XEP-0202)", default=True)
last_activity = ModuleMaker(
    "last_activity", "xmppservice.modules.last_activity.module", "who was online when (XEP-0012)", default=True
)
vcard = ModuleMaker("vcard", "xmppservice.modules.vcard.module", "business cards (XEP-0054)", default=True)
private_xml = ModuleMaker(
    "private_xml", "xmppservice.modules.private_xml.module", "private storage of clients (XEP-0049)", default=True
)
contact_info = ModuleMaker(
    "contact_info", "xmppservice.modules.contact_info", "whom to write to about the service (XEP-0157)", default=True
)
register = ModuleMaker(
    "register", "xmppservice.modules.register", "accounts made, changed and removed by clients (XEP-0077)", default=True
)
privilege = ModuleMaker(
    "privilege", "xmppservice.modules.privilege.module", "components that act for accounts (XEP-0356)", default=True
)
delegation = ModuleMaker(
    "delegation", "xmppservice.modules.delegation.module", "components that answer for us (XEP-0355)", default=True
)
blocking = ModuleMaker("blocking", "xmppservice.modules.blocking", "block lists (XEP-0191)", default=True)
stanzaIds = ModuleMaker("stanza_ids", "xmppservice.modules.stanza_ids", "ids for messages (XEP-0359)", default=True)
