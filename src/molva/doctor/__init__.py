"""What may keep a server from working well on this machine, looked for and never changed."""
