"""`titans-seq forecast`: from a table of series to a table of forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from titans_seq.cli.series_options import learning_options, table_options, take_table


@click.command("forecast", no_args_is_help=True)
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--horizon", type=click.IntRange(min=1), help="Rows to forecast.  [default: 96, or the model's]")
@click.option(
    "--level", "levels", type=float, multiple=True, help="Interval in percent; may be repeated.  [default: 90]"
)
@click.option("--quantiles", help="Quantiles instead, e.g. 0.1,0.5,0.9; 'deciles' gives all nine.")
@click.option("--model", type=click.Path(path_type=Path), help="A run of train-series; trained from DATA otherwise.")
@click.option("--state", type=click.Path(path_type=Path), help="State file to go on from, or to begin.")
@click.option("--future", type=click.Path(path_type=Path), help="Table of covariates for the rows to be forecast.")
@click.option("--as-of", help="Forget every row later than this moment.")
@click.option("--max-lookback", type=click.IntRange(min=2), help="Longest window that may be chosen.  [default: 512]")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Where to write, .csv or .parquet.  [default: stdout]"
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw history and forecast into this PNG.")
@learning_options
@table_options
@click.pass_context
def command(ctx: click.Context, data: Path | None, **options: Any) -> None:
    """Forecast every series of DATA, a CSV or Parquet table with a time column and numbers.

    Without --model a closed-form model is trained: seconds for hours and days, two minutes or three for readings by
    the minute, --minutes at most.

    \b
    titans-seq forecast readings.csv --horizon 96 -o forecast.csv --plot forecast.png
    titans-seq forecast readings.csv --horizon 24 --state plant.state
    titans-seq forecast --state plant.state --level 80 --level 95
    titans-seq forecast sales.csv --horizon 28 --future promotions.csv     same id, time and covariates, coming rows
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk
    from titans_seq.config.train_series import SeriesSection

    pipeline = import_module("titans_seq.pipelines.forecast")
    given = {"horizon": options["horizon"], **{name: options.pop(name) for name in ("max_lookback", "minutes")}}
    job = pipeline.ForecastJob(
        data=data,
        table=take_table(options),
        settings=SeriesSection(**{name: value for name, value in given.items() if value is not None}),
        quantiles=read_quantiles(options.pop("quantiles")),
        **options,
    )
    quiet = bool(ctx.find_root().params.get("quiet"))
    with Talk(quiet=quiet) as talk:
        frame, words = pipeline.run(job, watch=talk.watch)
    if not quiet:
        for line in words:
            click.echo(line, err=True)
    if job.out is None:
        click.echo(frame.write_csv(), nl=False)


def read_quantiles(text: str | None) -> tuple[float, ...]:
    """Read ``0.1,0.9`` or ``deciles``."""
    if text is None:
        return ()
    if text == "deciles":
        return tuple(round(0.1 * i, 1) for i in range(1, 10))
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"--quantiles {text!r}: expected numbers such as 0.1,0.5,0.9, or deciles") from None
