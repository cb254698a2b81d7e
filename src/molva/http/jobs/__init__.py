"""The door of whisper-server's clients: jobs, and the life of the model."""
