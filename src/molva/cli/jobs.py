"""`molva jobs`: recordings that a server transcribes when their turn comes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from molva.cli.captions import printable
from molva.cli.console import stderr
from molva.cli.transcribe import write_output

if TYPE_CHECKING:
    from molva.jobs_client import JobsClient

app = typer.Typer(
    help="Submit recordings to a running server, and get their transcripts when they are done.", no_args_is_help=True
)

JOB_FAILED = 3
COLUMNS = ("ID", "STATUS", "DONE", "SUBMITTED", "FILE")

Url = Annotated[str, typer.Option(help="The server.")]
ApiKey = Annotated[
    str | None,
    typer.Option(envvar="MOLVA_API_KEY", show_envvar=True, help="For a server that asks for one. Others see flags."),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="As `molva jobs submit` printed it.", show_default=False)]
HERE = "http://127.0.0.1:9876"


@app.command()
def submit(
    files: Annotated[list[Path], typer.Argument(help="Recordings in any format.", show_default=False)],
    language: Annotated[str | None, typer.Option(help="ISO 639-1 code; the model tells where it is absent.")] = None,
    task: Annotated[str | None, typer.Option(help="transcribe, or translate to English.")] = None,
    model: Annotated[str | None, typer.Option(help="A model of the server; the language decides otherwise.")] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="mix, or split: each channel by itself, as a speaker of a dialogue.")
    ] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Where the server posts the job when it has ended.")] = None,
    speakers: Annotated[
        bool, typer.Option("--speakers", help="Tell speakers apart; needs their models on the server.")
    ] = False,
    num_speakers: Annotated[int | None, typer.Option(help="How many speakers there are, with --speakers.")] = None,
    min_speakers: Annotated[int | None, typer.Option(help="At least so many.")] = None,
    max_speakers: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key with the same file makes no second job.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until the jobs have ended.")] = False,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Send recordings and print the id of each one's job.

    Exit status: 0 all is well, 1 something could not be sent, 2 wrong usage, 3 a job that was watched has no result.
    """
    if idempotency_key is not None and len(files) > 1:
        raise typer.BadParameter("is for one file only", param_hint="--idempotency-key")
    if idempotency_key is not None and not (idempotency_key.isascii() and idempotency_key.isprintable()):
        raise typer.BadParameter("must be printable ASCII", param_hint="--idempotency-key")
    given = {
        "language": language,
        "task": task,
        "model": model,
        "priority": priority,
        "channels": channels,
        "webhook_url": webhook_url,
        "diarization": "true" if speakers else None,
        "num_speakers": num_speakers,
        "min_speakers": min_speakers,
        "max_speakers": max_speakers,
    }
    fields = {name: str(value) for name, value in given.items() if value is not None}
    with server_at(url, api_key) as client:
        jobs = []
        for file in files:
            jobs.append(_send(client, file, fields, idempotency_key))
            print(jobs[-1], flush=True)
        outcomes = [_watch(client, job_id) for job_id in jobs if watch]
    if not all(outcomes):
        raise typer.Exit(JOB_FAILED)


@app.command("list")
def list_jobs(
    status: Annotated[
        str, typer.Option(help="queued, running, done, failed, cancelled; several with commas.", show_default="all")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Show the server's jobs, newest first."""
    with server_at(url, api_key) as client:
        rows = [COLUMNS]
        rows += (
            (job["id"], job["status"], f"{job['progress']}%", job["created_at"], printable(job.get("filename") or ""))
            for job in client.jobs(status=status, limit=limit)
        )
    if len(rows) == 1:
        print("There is no such job." if status else "There is no job.", file=sys.stderr)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def watch(job_id: JobId, url: Url = HERE, api_key: ApiKey = None) -> None:
    """Show how a job gets on, until it has ended.

    Exit status: 0 it is done, 1 the server cannot be reached or has no such job, 3 it failed or was cancelled.
    """
    with server_at(url, api_key) as client:
        if not _watch(client, job_id):
            raise typer.Exit(JOB_FAILED)


@app.command()
def cancel(
    job_id: JobId,
    purge: Annotated[bool, typer.Option("--purge", help="Forget the job, in whatever state it is.")] = False,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """End a job that has not ended, or forget one with all that is known of it."""
    with server_at(url, api_key) as client:
        job = client.cancel(job_id, purge=purge)
    print(f"{job['id']} {'was ' if purge else ''}{job['status']}{' and is forgotten' if purge else ''}")


@app.command()
def result(
    job_id: JobId,
    format_name: Annotated[str, typer.Option("--format", "-f", help="text, json, srt, vtt, md or tsv.")] = "text",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    url: Url = HERE,
    api_key: ApiKey = None,
) -> None:
    """Print the transcript of a job that is done."""
    with server_at(url, api_key) as client:
        write_output(client.result(job_id, format_name), output)


@contextmanager
def server_at(url: str, api_key: str | None) -> Iterator["JobsClient"]:
    """A client; what goes wrong with the server or a file becomes a line on standard error and exit status 1."""
    from molva.jobs_client import JobsClient

    try:
        with JobsClient(url, key=api_key) as client:
            yield client
    except BrokenPipeError:  # nobody reads on; typer ends quietly then
        raise
    except OSError as error:
        print(f"molva: {f'{error.filename}: {error.strerror}' if error.filename else error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _send(client: "JobsClient", file: Path, fields: dict[str, str], idempotency_key: str | None) -> str:
    """The id of its job. Waits while the server loads its model."""
    from molva.jobs_client import NotReady

    while True:
        try:
            with show_upload(stderr, file) as on_sent:
                return client.submit(file, fields, idempotency_key=idempotency_key, on_sent=on_sent)
        except NotReady as refused:
            print(f"molva: {refused}; next try in {refused.retry_after_s:g} s", file=sys.stderr)
            sleep(refused.retry_after_s)


def _watch(client: "JobsClient", job_id: str) -> bool:
    """Whether the job is done. What happens goes to standard error, so that standard output holds results only."""
    with show_job(stderr, job_id) as show:
        for name, event in client.watch(job_id):
            if name == "progress":
                show(event["status"], event["percent"])
            elif name == "error":
                reason = f"failed: {event['message']}"
            else:
                job = event["job"]
                show(job["status"], job["progress"])
                if job["status"] == "done":
                    return True
                reason = f"failed: {job['error']}" if job["status"] == "failed" else "was cancelled"
    print(f"molva: job {job_id} {printable(reason)}", file=sys.stderr)
    return False


@contextmanager
def show_upload(console: Console, file: Path) -> Iterator[Callable[[int], None]]:
    """A bar of the bytes sent on a terminal, nothing elsewhere."""
    if not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(printable(file.name), total=file.stat().st_size)
        yield lambda n_bytes: progress.advance(task, n_bytes)


@contextmanager
def show_job(console: Console, job_id: str) -> Iterator[Callable[[str, int], None]]:
    """A bar on a terminal, elsewhere a line for each change of status or percent."""
    if not console.is_terminal:
        told: list[str] = []

        def say(status: str, percent: int) -> None:
            line = f"{job_id} {status} {percent}%"
            if line not in told[-1:]:
                told.append(line)
                print(line, file=sys.stderr, flush=True)

        yield say
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("queued", total=100)
        yield lambda status, percent: progress.update(task, description=status, completed=percent)
