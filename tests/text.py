"""Texts as they are compared."""

import re

CLIP_TEXT = "тогда лось вышел на двор первый раз за эти семь дней"
"""What is said in the shipped clip, `assets/speech.wav`."""


def plain(text: str) -> str:
    """Lower case, no punctuation, ё as е: what word error rates are counted on."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower().replace("ё", "е")).split())
