"""`titans-seq train-series`: from a table of series to a forecaster kept as a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from titans_seq.cli.series_options import learning_options, table_options, take_table


@click.command("train-series", no_args_is_help=True)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--preset", default="series-small", show_default=True, help="Name of a preset, or a .yaml of your own.")
@click.option("--horizon", type=click.IntRange(min=1), help="Rows forecast at once.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/DATA-PRESET]")
@click.option(
    "--correction",
    type=click.Choice(["auto", "always", "never"]),
    help="Pretrain a memory on many series, for what the ridge leaves over.  [default: auto, from 32 series on]",
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set any key of the preset.")
@learning_options
@table_options
@click.pass_context
def command(ctx: click.Context, data: Path, preset: str, horizon: int | None, out: Path | None, **options: Any) -> None:
    """Train a forecaster on DATA; what ships is decided on its last rows.

    \b
    titans-seq train-series readings.csv --horizon 96 --out runs/plant
    titans-seq forecast later.csv --model runs/plant
    titans-seq train-series many.csv --horizon 48 --out runs/many      of 32 series or more a memory is pretrained
    titans-seq forecast unseen.csv --model runs/many                   and reads new ones from their first row
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk
    from titans_seq.config import parse_config, preset_text
    from titans_seq.config.train_series import TrainSeriesConfig

    pipeline = import_module("titans_seq.pipelines.train_series")
    named = {
        "horizon": horizon, "minutes": options.pop("minutes"), "correction.tried": options.pop("correction")
    }  # fmt: skip
    overrides = [*options.pop("assignments"), *(f"series.{key}={value}" for key, value in named.items() if value)]
    config = parse_config(TrainSeriesConfig, preset_text(preset), source=preset, overrides=overrides)
    folder = out or Path("runs") / f"{data.name.split('.')[0]}-{Path(preset).stem}"
    job = pipeline.TrainSeriesJob(data=data, table=take_table(options), config=config, out=folder)
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        words = pipeline.run(job, watch=talk.watch)
    if words:  # of the processes of a job one reports
        click.echo("\n".join(words))
