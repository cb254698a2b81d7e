"""Loaded models, threads, and the one road from audio to transcript."""
