"""Measurements of molva. Run from the repository's root; README.md says how."""
