"""Webhooks: what is told to addresses that asked to be told, signed, and again until it arrives."""
