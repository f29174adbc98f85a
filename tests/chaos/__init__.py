"""Chaos: the real process is killed, stopped and cut off under load, and nothing acknowledged may be lost."""
