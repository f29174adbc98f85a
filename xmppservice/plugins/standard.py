"""The modules that come with the server: one line each, data only."""

from xmppservice.hub.module import ModuleMaker

roster = ModuleMaker("roster", "xmppservice.modules.roster", "contact lists (RFC 6121)", default=True)
offline = ModuleMaker("offline", "xmppservice.modules.offline", "messages for who is away (XEP-0160)", default=True)
sm = ModuleMaker(
    "stream_management", "xmppservice.modules.stream_management", "acknowledgements (XEP-0198)", default=True
)
