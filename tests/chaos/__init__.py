"""Servers that die, and what must be left of their work."""
