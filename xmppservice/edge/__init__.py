"""Sockets: drivers of streams, writers, TLS, and the client-to-server service."""
