"""xmppservice: an XMPP server framework on Twisted."""
