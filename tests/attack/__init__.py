"""Attacks over real sockets on the real process: every refusal, its exact error, and nobody else disturbed."""
