"""An XMPP server, and a framework for servers and gateways, on Twisted."""

__version__ = "0.1.0"
