"""Transcript -> str, one pure function for each format."""
