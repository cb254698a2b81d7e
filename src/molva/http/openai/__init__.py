"""The OpenAI door: what clients of OpenAI's audio API expect, over the same recogniser."""
