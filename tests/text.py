"""Texts as they are compared."""

import re

CLIP_TEXT = "его сына я знал не так уж хорошо но все же лучше чем отца"
"""What is said in the shipped clip, `assets/speech.wav`."""


def plain(text: str) -> str:
    """Lower case, no punctuation, ё as е: what word error rates are counted on."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower().replace("ё", "е")).split())
