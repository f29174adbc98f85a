"""Privileged entities (XEP-0356)."""
