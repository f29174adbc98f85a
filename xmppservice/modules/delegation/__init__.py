"""Namespace delegation (XEP-0355)."""
