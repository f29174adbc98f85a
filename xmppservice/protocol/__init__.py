"""Row 1: the rules of XMPP without I/O and without Twisted."""
