"""`titans-seq observe`: read new rows into a state file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from titans_seq.cli.series_options import table_options, take_table


@click.command("observe", no_args_is_help=True)
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--state", type=click.Path(path_type=Path), required=True, help="State file of forecast or train-series.")
@click.option("--as-of", help="Leave rows later than this moment for another time.")
@click.option("--skip-known", is_flag=True, help="Leave out rows the state has read, instead of refusing them.")
@click.option("--undo", type=click.IntRange(min=1), help="Take the last N reads back; DATA is not needed.")
@click.option(
    "--keep", type=click.IntRange(min=0), default=8, show_default=True, help="Earlier states kept for --undo."
)
@table_options
def command(data: Path | None, state: Path, undo: int | None, **options: Any) -> None:
    """Read the rows of DATA, all newer than what the state has read, at the cost of those rows.

    However the rows are cut into calls, the forecast is that of one call, to 1e-8 of the series' spread (1e-5 with a
    pretrained memory).

    \b
    titans-seq observe new.csv --state plant.state
    titans-seq observe --undo 1 --state plant.state
    cp plant.state whatif.state                       a fork
    """
    from importlib import import_module

    pipeline = import_module("titans_seq.pipelines.observe")
    table = take_table(options)
    if undo is not None:
        if data is not None:
            raise click.UsageError("expected DATA or --undo, found both")
        click.echo(pipeline.take_back(state, undo))
        return
    if data is None:
        raise click.UsageError("expected a table of new rows, or --undo N")
    click.echo(pipeline.run(data, state, table=table, **options))
