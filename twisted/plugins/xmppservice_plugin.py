"""Makes ``twistd xmpp`` known to Twisted; data only, so that listing the plugins imports nothing of ours."""

from twisted.application.service import ServiceMaker

xmpp = ServiceMaker("XMPP server", "xmppservice.tap", "An XMPP server", "xmpp")
