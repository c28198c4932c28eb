"""`titans-seq backtest`: how good past forecasts would have been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from titans_seq.cli.series_options import learning_options, table_options, take_table


@click.command("backtest", no_args_is_help=True)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--horizon", type=click.IntRange(min=1), help="Rows of a window.  [default: 96, or the model's]")
@click.option("--model", type=click.Path(path_type=Path), help="A run of train-series; fitted to DATA otherwise.")
@click.option(
    "--n-windows", type=click.IntRange(min=1), default=10, show_default=True, help="Moments to forecast from."
)
@click.option("--step-size", type=click.IntRange(min=1), help="Rows between two of them.  [default: the horizon]")
@click.option("--refit", is_flag=True, help="Choose and fit again at every moment.")
@click.option(
    "--level", "levels", type=float, multiple=True, help="Interval in percent; may be repeated.  [default: 90]"
)
@click.option(
    "--max-lookback", type=click.IntRange(min=2), default=512, show_default=True, help="Longest window tried."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: runs/DATA-backtest]")
@learning_options
@table_options
@click.pass_context
def command(
    ctx: click.Context, data: Path, horizon: int | None, max_lookback: int, out: Path | None, **options: Any
) -> None:
    """Forecast DATA from past moments, with nothing later known, and score beside baselines and arms.

    \b
    titans-seq backtest readings.csv --horizon 96 --n-windows 20 --step-size 24
    titans-seq backtest unseen.csv --model runs/many      a model of other series, its memory carried, reset and off
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk
    from titans_seq.config.train_series import SeriesSection

    pipeline = import_module("titans_seq.pipelines.backtest")
    if horizon is not None and options["model"] is not None:
        raise click.UsageError("expected --horizon or --model, whose horizon it then is; found both")
    horizon = horizon or pipeline.horizon_of(options["model"])
    limits = {"minutes": options["minutes"]} if options["minutes"] else {}  # of each fit
    job = pipeline.BacktestJob(
        data=data,
        table=take_table(options),
        settings=SeriesSection(horizon=horizon, max_lookback=max_lookback, **limits),
        model=options["model"],
        n_windows=options["n_windows"],
        step_size=options["step_size"] or horizon,
        refit=options["refit"],
        levels=options["levels"],
        out=out or Path("runs") / f"{data.name.split('.')[0]}-backtest",
    )
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        _, text = pipeline.run(job, watch=talk.watch)
    click.echo(text)
