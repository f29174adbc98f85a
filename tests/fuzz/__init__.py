"""Fuzzing: generated, mutated and recorded input for parser, addresses, negotiation and the whole server."""
