"""Row 1: the small extension elements that several parts of the server build or read."""
