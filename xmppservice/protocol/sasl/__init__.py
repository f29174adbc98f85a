"""SASL mechanisms as machines without I/O (RFC 4422, RFC 6120 section 6)."""
