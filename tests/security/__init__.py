"""TLS and SASL from end to end: real sockets against the real process (RFC 6120 5, 6, 13)."""
