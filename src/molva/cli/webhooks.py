"""`molva webhooks`: what was told to whom, and telling it again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from molva.errors import OptionError
from molva.webhooks.delivery import Delivery, DeliveryStatus

if TYPE_CHECKING:
    from molva.webhooks.sqlite import SqliteDeliveryStore

app = typer.Typer(help="Show what the server has told to webhooks, and tell it again.", no_args_is_help=True)

PAGE = 500
"""Deliveries that are replayed after one look at the list."""


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="MOLVA_DATA_DIR", show_default="~/.molva", help="Where the server keeps its data."
    ),
]


@app.command("list")
def list_deliveries(
    status: Annotated[DeliveryStatus | None, typer.Option("--status", help="Only these.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, of the newest.")] = 50,
    data_dir: DataDir = None,
) -> None:
    """Show deliveries, newest first, with what came of their last attempt."""
    with _store(data_dir) as store:
        deliveries = store.list(status=status, limit=limit)
    if not deliveries:
        typer.echo("There is no such delivery.", err=True)
        return
    rows: list[Sequence[str]] = [("ID", "EVENT", "JOB", "STATUS", "ATTEMPTS", "NEXT ATTEMPT", "URL", "LAST ANSWER")]
    rows += [_row(delivery) for delivery in deliveries]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def replay(
    delivery_id: Annotated[str | None, typer.Argument(metavar="ID", help="One delivery.", show_default=False)] = None,
    given_up: Annotated[bool, typer.Option("--given-up", help="All that were given up.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make deliveries due at once, under their ids; a running server sends them within a second."""
    if (delivery_id is None) != given_up:
        raise typer.BadParameter("Give either the ID of a delivery or --given-up.")
    with _store(data_dir) as store:
        if delivery_id is None:
            typer.echo(f"{_replay_given_up(store)} will be sent again.", err=True)
        elif store.replay(delivery_id) is None:
            raise OptionError("id", f"There is no delivery '{delivery_id}'. `molva webhooks list` shows what there is.")


def _replay_given_up(store: "SqliteDeliveryStore") -> int:
    """How many. Goes down the ids, so that one which a server gives up again meanwhile is not met twice."""
    count, before = 0, None
    while page := store.list(status="given_up", limit=PAGE, before=before):
        for delivery in page:
            store.replay(delivery.id)
        count, before = count + len(page), page[-1].id
    return count


def _row(delivery: Delivery) -> Sequence[str]:
    url = urlsplit(delivery.url)
    pending = delivery.status == "pending"
    return (
        delivery.id,
        delivery.event,
        delivery.job_id or "-",
        delivery.status,
        str(delivery.attempts),
        f"{datetime.fromtimestamp(delivery.due_at, UTC):%Y-%m-%d %H:%M:%S %Z}" if pending else "-",
        # A query may hold a secret of the receiver's.
        url._replace(query="", fragment="").geturl(),
        delivery.problem or (str(delivery.answer) if delivery.answer else "-"),
    )


@contextmanager
def _store(data_dir: Path | None) -> "Iterator[SqliteDeliveryStore]":
    """Over the file that `molva serve` with the same environment has."""
    from molva.configuration import read_settings
    from molva.database import Database
    from molva.webhooks.sqlite import TABLES, SqliteDeliveryStore

    database = Database(read_settings(data_dir=data_dir).database, [TABLES])
    try:
        yield SqliteDeliveryStore(database)
    finally:
        database.close()
