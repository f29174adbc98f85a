"""Tests of the load generator: its figures are worth nothing if it miscounts."""
