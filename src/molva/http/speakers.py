"""What a client wants to know of speakers: the query parameters."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query

from molva.errors import OptionError
from molva.samples import Channels
from molva.speech.clustering import SpeakerCount

ChannelsQuery = Annotated[
    Channels, Query(description="split transcribes each channel by itself, as the speaker of its number")
]


@dataclass(frozen=True, slots=True)
class SpeakerWish:
    """`Depends()` fills it from the query."""

    diarization: Annotated[
        bool | None, Query(description="Tell speakers apart; absent does what the server is set to")
    ] = None
    num_speakers: Annotated[int | None, Query(description="How many there are, 1 to 64, where that is known")] = None
    min_speakers: Annotated[int | None, Query(description="At least so many")] = None
    max_speakers: Annotated[int | None, Query(description="At most so many")] = None
    channels: ChannelsQuery = "mix"

    def count(self, *, by_default: bool) -> SpeakerCount | None:
        """How many there may be; None where they are not to be told apart.

        Numbers need `diarization=true` beside them, unless that is the default. Channels that are split are the
        speakers, whatever the default. Raises OptionError.
        """
        if self.channels == "split":
            by_default = False
            if self.diarization:
                raise OptionError("channels", "channels=split goes without diarization: each channel is a speaker")
        count = SpeakerCount.of(self.num_speakers, self.min_speakers, self.max_speakers)
        if self.diarization or (self.diarization is None and by_default):
            return count
        for option in ("num_speakers", "min_speakers", "max_speakers"):
            if getattr(self, option) is not None:
                raise OptionError(option, f"{option} needs diarization=true")
        return None
