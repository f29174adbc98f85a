"""Row 0: bytes to elements and back. Standard library only."""
