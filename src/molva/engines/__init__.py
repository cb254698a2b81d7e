"""Models behind one blocking protocol. They know nothing of HTTP, jobs or files of audio."""
