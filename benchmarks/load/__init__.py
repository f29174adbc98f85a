"""A cheap XMPP load generator: epoll, sockets and byte patterns, no XML parser after the login."""
