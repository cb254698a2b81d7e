"""`molva listen`."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from molva.cli.captions import Show, captions
from molva.cli.console import stderr
from molva.cli.pcm import FILE_RATE, Frames, at_real_time, frames_of_file, frames_of_pipe, read_ahead
from molva.errors import OptionError

if TYPE_CHECKING:
    from molva.client import LiveClient, Message

STDIN = Path("-")
ENDPOINT_MODES = ("auto", "assistant", "manual")
PIPE_RATE = 16_000
USUAL_RATES = (16_000, 48_000)
"""Hz; what a server that does not tell its rates takes in any case."""
INTERRUPTED = 130


def listen(
    file: Annotated[
        Path | None, typer.Argument(help="A recording in any format, or - for raw PCM16; else the microphone.")
    ] = None,
    url: Annotated[str, typer.Option(help="The server.")] = "ws://127.0.0.1:9876/v1/ws",
    rate: Annotated[int | None, typer.Option(help=f"Of raw PCM16, in Hz; {PIPE_RATE} where absent.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Send FILE as fast as the server takes it.")] = False,
    min_silence_ms: Annotated[
        int | None, typer.Option(min=0, help="Silence that ends an utterance; the server tells where absent.")
    ] = None,
    endpoint_mode: Annotated[
        str | None, typer.Option(help="auto, assistant, or manual: silence ends no utterance.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="MOLVA_API_KEY", show_envvar=True, help="For a server that asks for one. Others see flags."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Each message of the server as a line of JSON.")] = False,
) -> None:
    """Show live what is said: into the microphone, in a recording, or in raw audio from standard input.

    Needs a running server. Ctrl-C ends the session with its last words; a second one ends it at once.

    Exit status: 0 all was heard, 1 the server or the audio failed, 2 wrong usage, 130 ended at once.
    """
    from molva.client import live_url

    if endpoint_mode is not None and endpoint_mode not in ENDPOINT_MODES:
        raise typer.BadParameter(f"must be one of {', '.join(ENDPOINT_MODES)}", param_hint="--endpoint-mode")
    if rate is not None and file != STDIN:
        raise typer.BadParameter("is for raw audio from standard input only", param_hint="--rate")
    if fast and file in (None, STDIN):
        raise typer.BadParameter("is for recordings only", param_hint="--fast")
    session = Session(live_url(url), api_key, min_silence_ms, endpoint_mode)
    try:
        source = open_source(file, rate or PIPE_RATE, fast=fast)
        with captions(Console(), as_json=as_json) as show:
            failed = asyncio.run(session.run(source, show))
    except asyncio.CancelledError:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # nobody reads on; typer ends quietly then
        raise
    except OSError as error:
        print(f"molva: {f'{error.filename or file}: {error.strerror}' if error.strerror else error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if (missing_s := source.missing_s()) > 0:
        print(f"molva: {file}: the file is cut short; {missing_s:.1f} s are missing at its end", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Source:
    """Where the audio comes from."""

    choose_rate: Callable[[Sequence[int]], int]
    """The rate to send at in Hz, of those that the server takes."""
    frames: Callable[[int], Frames]
    """PCM16 at that rate."""
    live: bool
    """Whether no more comes in a second than is spoken in one."""
    missing_s: Callable[[], float] = float
    """At its end: seconds that were promised and are not there."""


def open_source(file: Path | None, pipe_rate: int, *, fast: bool) -> Source:
    """The microphone where there is no `file`. Raises NoMicrophone, AudioError, or OSError for what is not there."""
    if file is None:
        from molva.cli.microphone import Microphone

        microphone = Microphone()
        if stderr.is_terminal:
            stderr.print(f"Listening to {microphone.name}. Ctrl-C ends.", highlight=False, markup=False)
        return Source(microphone.choose_rate, microphone.frames, live=True)
    if file == STDIN:
        return Source(_only(pipe_rate), lambda rate: frames_of_pipe(sys.stdin.fileno(), rate), live=False)
    from molva.audio.decode import AudioReader

    # Whoever reads it closes it at its end: that is another thread.
    reader = AudioReader(file)
    frames = frames_of_file(reader)
    return Source(
        _only(FILE_RATE),
        lambda rate: frames if fast else at_real_time(frames, rate),
        live=not fast,
        missing_s=lambda: reader.shortfall_s,
    )


def _only(rate: int) -> Callable[[Sequence[int]], int]:
    def choose(supported: Sequence[int]) -> int:
        if rate not in supported:
            raise OptionError("rate", f"The server takes {', '.join(map(str, supported))} Hz, not {rate} Hz.")
        return rate

    return choose


@dataclass
class Session:
    """One conversation with a server."""

    url: str
    api_key: str | None
    min_silence_ms: int | None
    endpoint_mode: str | None
    _sending: "asyncio.Task[None] | None" = None

    async def run(self, source: Source, show: Show) -> bool:
        """Stream `source` and show the answers. True where the server told of an error, which goes to standard error.

        Raises ConnectionError, and what the source raises.
        """
        from molva.client import connect

        self._mind_interrupts()
        failed = False
        async with connect(self.url, key=self.api_key, keepalive=source.live) as client:
            async for message in client.messages():
                show(message)
                if message["type"] == "ready":
                    await self._start(client, message, source)
                elif message["type"] == "error":
                    failed = True
                    print(f"molva: {message['message']}", file=sys.stderr)
        await self._end()
        return failed

    async def _start(self, client: "LiveClient", ready: "Message", source: Source) -> None:
        rate = source.choose_rate(ready.get("supported_rates", USUAL_RATES))
        await client.configure(sample_rate=rate, min_silence_ms=self.min_silence_ms, endpoint_mode=self.endpoint_mode)
        self._sending = asyncio.create_task(client.stream(read_ahead(source.frames(rate))))

    async def _end(self) -> None:
        """The server has said everything. What went wrong with the audio is raised now."""
        if self._sending is None:
            return
        self._sending.cancel()
        await asyncio.wait([self._sending])
        if not self._sending.cancelled():
            self._sending.result()

    def _mind_interrupts(self) -> None:
        """The first Ctrl-C ends the audio, which brings the last final; the second one, or an early one, ends all."""
        everything = asyncio.current_task()
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            if self._sending is not None and not interrupted:
                self._sending.cancel()
            elif everything is not None:
                everything.cancel()
            interrupted = True

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
