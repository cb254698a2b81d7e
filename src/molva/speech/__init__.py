"""samples -> spans -> windows -> joined text. No I/O, no clock, no threads."""
