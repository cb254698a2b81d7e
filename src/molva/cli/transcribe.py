"""`molva transcribe`."""

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from molva.cli.console import show_downloads, stderr
from molva.cli.models import ModelDir
from molva.errors import AudioError, InferenceError, OptionError

if TYPE_CHECKING:
    from molva.runtime.transcription import Transcription
    from molva.speech.clustering import SpeakerCount

SOME_FILES_FAILED = 3
STDIN = Path("-")


def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Recordings in any format; - reads standard input.")],
    model_dir: ModelDir,
    model: Annotated[
        str, typer.Option(envvar="MOLVA_MODEL", help="A name from `molva models list`, or auto.")
    ] = "auto",
    device: Annotated[str, typer.Option(envvar="MOLVA_DEVICE", help="cpu, cuda or coreml.")] = "cpu",
    precision: Annotated[str, typer.Option(envvar="MOLVA_PRECISION", help="auto, int8, u8, fp16 or fp32.")] = "auto",
    language: Annotated[str | None, typer.Option(help="ISO 639-1 code; the model tells where it is absent.")] = None,
    task: Annotated[str, typer.Option(help="transcribe, or translate to English.")] = "transcribe",
    format_name: Annotated[str, typer.Option("--format", "-f", help="text, json, srt, vtt, md or tsv.")] = "text",
    output_dir: Annotated[
        Path | None, typer.Option(help="Write NAME.EXTENSION files here, not standard output.")
    ] = None,
    max_chars_per_line: Annotated[int, typer.Option(min=0, help="Longest subtitle in characters; 0 for any.")] = 80,
    max_words_per_line: Annotated[int, typer.Option(min=0, help="Longest subtitle in words; 0 for any.")] = 14,
    word_timestamps: Annotated[bool, typer.Option("--word-timestamps", help="Table of words in Markdown.")] = False,
    speakers: Annotated[
        bool, typer.Option("--speakers", help="Tell speakers apart; needs `molva models pull speakers`.")
    ] = False,
    num_speakers: Annotated[int | None, typer.Option(help="How many speakers there are, with --speakers.")] = None,
    min_speakers: Annotated[int | None, typer.Option(help="At least so many.")] = None,
    max_speakers: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    channels: Annotated[
        str, typer.Option(help="mix, or split: each channel by itself, as a speaker of a dialogue.")
    ] = "mix",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is going on.")] = False,
) -> None:
    """Transcribe recordings to standard output or to files.

    Exit status: 0 all done, 1 nothing could be done, 2 wrong usage, 3 some files could not be transcribed.
    """
    from molva.formats.render import Layout, parse_format, render
    from molva.library import Transcriber
    from molva.logs import start_logging

    start_logging("info" if verbose else "warning")
    chosen = parse_format(format_name)
    if task not in ("transcribe", "translate"):
        raise typer.BadParameter("must be transcribe or translate", param_hint="--task")
    count = count_speakers(num_speakers, min_speakers, max_speakers) if speakers else None
    if not speakers and (num_speakers, min_speakers, max_speakers) != (None, None, None):
        raise typer.BadParameter("numbers of speakers need --speakers", param_hint="--speakers")
    if channels not in ("mix", "split"):
        raise typer.BadParameter("must be mix or split", param_hint="--channels")
    if speakers and channels == "split":
        raise typer.BadParameter("goes without --speakers: each channel is a speaker", param_hint="--channels")
    targets = plan_output(files, output_dir, chosen.extension, one_only=chosen.name in ("srt", "vtt", "md", "tsv"))
    layout = Layout(max_chars_per_line, max_words_per_line, word_timestamps)
    with show_downloads(stderr) as on_download:
        transcriber = Transcriber(
            model, model_dir=model_dir, device=device, precision=precision, on_download=on_download
        )
    failed = False
    with transcriber:
        if verbose:
            stderr.print(f"{transcriber.info.model}: {transcriber.reason}", highlight=False)
        for file, target in zip(files, targets, strict=True):
            try:
                with open_input(file) as source, show_progress(stderr, file.name) as on_progress:
                    transcript = transcriber.transcribe(
                        source,
                        language=language,
                        task="translate" if task == "translate" else "transcribe",
                        on_progress=on_progress,
                        speakers=count,
                        channels="split" if channels == "split" else "mix",
                    )
                write_output(render(transcript, chosen, layout), target)
            except (AudioError, InferenceError) as error:
                failed = True
                print(f"molva: {file}: {error}", file=sys.stderr)
                continue
            except OSError as error:
                failed = True
                print(f"molva: {error.filename or file}: {error.strerror}", file=sys.stderr)
                continue
            if transcript.diarization == "failed":
                print(f"molva: {file}: speakers could not be told apart; --verbose tells why", file=sys.stderr)
            if transcript.declared_duration is not None:
                missing = transcript.declared_duration - transcript.duration
                print(f"molva: {file}: the file is cut short; {missing:.1f} s are missing at its end", file=sys.stderr)
    if failed:
        raise typer.Exit(SOME_FILES_FAILED)


def count_speakers(num: int | None, minimum: int | None, maximum: int | None) -> "SpeakerCount":
    """How many speakers there may be, in the words of the command line."""
    from molva.speech.clustering import SpeakerCount

    try:
        return SpeakerCount.of(num, minimum, maximum)
    except OptionError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{error.option.replace('_', '-')}") from error


def plan_output(files: list[Path], folder: Path | None, extension: str, *, one_only: bool) -> list[Path | None]:
    """Where each file's result goes; None for standard output.

    Two results never get one name: files that differ in their ending only keep it.
    """
    if folder is None:
        if one_only and len(files) > 1:
            raise typer.BadParameter("several files in this format need --output-dir", param_hint="FILES")
        return [None] * len(files)
    folder.mkdir(parents=True, exist_ok=True)
    names = ["stdin" if file == STDIN else file.name for file in files]
    stems = Counter(Path(name).stem for name in names)
    targets = [Path(name).stem if stems[Path(name).stem] == 1 else name for name in names]
    if len(set(targets)) < len(targets):
        raise typer.BadParameter("two files have the same name", param_hint="FILES")
    return [folder / f"{target}.{extension}" for target in targets]


@contextmanager
def open_input(file: Path) -> Iterator[Path | BinaryIO]:
    """The recording; standard input goes through a temporary file, since most containers need to be searched."""
    if file != STDIN:
        file.open("rb").close()  # a missing or forbidden file, or a folder, in the system's own words
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        yield cast("BinaryIO", copy)


def write_output(text: str, target: Path | None) -> None:
    """To a file, or as one block of lines to standard output."""
    text = text if text.endswith("\n") else f"{text}\n"
    if target is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        target.write_text(text, encoding="utf-8")


class SpeedColumn(ProgressColumn):
    """How many times faster than the recording plays."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}x real time" if task.speed else "")


@contextmanager
def show_progress(console: Console, name: str) -> Iterator["Callable[[Transcription], None] | None"]:
    """A bar with rate and time left on a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda transcription: progress.update(
            task, completed=transcription.done_s, total=transcription.declared_duration
        )
