"""Tests of row 0: parser, elements, serialiser."""
