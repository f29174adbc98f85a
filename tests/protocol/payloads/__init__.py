"""Tests of the shared extension elements."""
