"""xmppctl, the command line of the server, and the socket by which it talks to a running one."""
