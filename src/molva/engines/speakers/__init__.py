"""Models that tell voices apart: where up to three speak in a window, and whose voice a stretch of speech is."""
