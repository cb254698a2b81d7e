"""The doors over HTTP: they translate and never decide."""
