"""Engines side by side: each in a process of its own, on the same files and the same random weights."""
