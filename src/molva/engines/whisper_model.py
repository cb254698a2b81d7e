"""faster-whisper's model, mended where it fails. Imported only when a model is loaded: an optional extra."""

from typing import Any

from faster_whisper import WhisperModel

SHORTEST_FRAMES = 2
"""Frames of 10 ms that make one output of the encoder."""


class MendedWhisperModel(WhisperModel):  # type: ignore[misc]  # faster-whisper is not typed
    """A model that drops what it makes up for the last 10 ms of a window, where faster-whisper fails.

    They are no output of the encoder, so CTranslate2 finds no place in time for any text, and faster-whisper 1.2
    indexes out of bounds (https://github.com/SYSTRAN/faster-whisper/pull/1460).
    """

    def add_word_timestamps(
        self,
        segments: list[list[dict[str, Any]]],
        tokenizer: Any,
        encoder_output: Any,
        num_frames: int,
        *rules: Any,
        **more: Any,
    ) -> Any:
        """Give each segment its `words`; no segments are left of fewer than `SHORTEST_FRAMES`."""
        if num_frames < SHORTEST_FRAMES:
            for segment in segments:
                segment.clear()
            return None
        return super().add_word_timestamps(segments, tokenizer, encoder_output, num_frames, *rules, **more)
