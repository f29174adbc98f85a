"""Modules of our own, found on the path of Python."""
