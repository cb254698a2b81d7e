"""How a client wants a transcript written: the query parameters, and the answer."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Response

from molva.formats.render import Format, Layout, parse_format, render
from molva.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a route asks for that answers with a transcript; `Depends()` fills it from the query."""

    format: Annotated[str, Query(description="json, txt, srt, vtt, md or tsv; letter case does not matter")] = "json"
    download: Annotated[str | None, Query(description="File name to save the answer under; empty for a default")] = None
    max_chars_per_line: Annotated[int, Query(ge=0, description="Longest subtitle in characters; 0 has no limit")] = 80
    max_words_per_line: Annotated[int, Query(ge=0, description="Longest subtitle in words; 0 has no limit")] = 14
    word_timestamps: Annotated[bool, Query(description="Append a table of words to Markdown")] = False

    def check(self) -> Format:
        """The format. Raises InvalidFormat."""
        return parse_format(self.format)

    async def answer(self, transcript: Transcript) -> Response:
        """The transcript as it is wanted. Raises InvalidFormat."""
        chosen = self.check()
        layout = Layout(self.max_chars_per_line, self.max_words_per_line, self.word_timestamps)
        return Response(
            # In a thread: ten hours of words are too many to lay out on the event loop.
            await asyncio.to_thread(render, transcript, chosen, layout),
            headers={**self._download_header(chosen), **_diarization_header(transcript)},
            media_type=chosen.media_type,
        )

    def _download_header(self, chosen: Format) -> dict[str, str]:
        """`Content-Disposition` where the client asked for a file; JSON is never one."""
        if self.download is None or chosen.name == "json":
            return {}
        legal = self.download and all(" " <= char <= "~" and char not in '"\\/' for char in self.download)
        name = self.download if legal else f"transcript.{chosen.extension}"
        return {"content-disposition": f'attachment; filename="{name}"'}


def _diarization_header(transcript: Transcript) -> dict[str, str]:
    """In every format: in most of them a text without speakers does not tell that they were looked for."""
    return {} if transcript.diarization is None else {"x-diarization": transcript.diarization}
