"""Where stanzas meet: routing, sessions, presence and hooks."""
