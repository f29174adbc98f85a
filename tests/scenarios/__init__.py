"""Readable plays, one per behaviour."""
