"""What goes wrong around a server and in it, and what must be left of its work."""
