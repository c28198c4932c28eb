"""`titans-seq detect`: anomaly scores, p-values and flagged intervals from a table of readings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("detect", no_args_is_help=True)
@click.argument("table", metavar="DATA", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="Table of rows, .csv or .parquet; flagged intervals go to NAME-intervals beside it.")  # fmt: skip
@click.option("--alpha", type=float, help="Share of quiet rows that may be flagged.  [default: 0.001]")
@click.option("--method", help="pca+level, pca, whitened, zscore, surprise or all.  [default: pca+level]")
@click.option("--smooth", type=click.IntRange(min=1), help="Rows of the score's running mean.  [default: 50]")
@click.option("--calibration", type=click.IntRange(min=1),
              help="Last scores that a row is compared with.  [default: 10 / alpha, at least 2000]")  # fmt: skip
@click.option("--fixed-level", is_flag=True, help="Flag p <= alpha; without, the level follows the flags.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="Go on from this file if it exists; write it at the end."
)
@click.option("--plot", type=click.Path(path_type=Path), help="Picture, .png.")
@click.option("--join", type=click.IntRange(min=0), default=20, show_default=True,
              help="Flagged rows at most this far apart are one interval.")  # fmt: skip
@click.option("--id-col", help="Column that tells the series apart.")
@click.option("--time-col", help="Column of the time stamps.")
@click.option("--target-col", "target_cols", multiple=True, help="Column to score; may be given several times.")
@click.option("--wide", is_flag=True, help="Every number column is a series.")
@click.option("--freq", help="Step of the clock: 1h, 15m, 1d, 1mo, rows ...")
@click.option("--time-zone", help="Zone of stamps that are written without one.")
@click.option("--time-format", help="Format of the stamps, such as %d.%m.%Y.")
@click.option("--decimal-comma", is_flag=True, help="Numbers are written 3,14.")
@click.option("--duplicates", type=click.Choice(["refuse", "first", "last", "mean"]), default="refuse",
              show_default=True, help="Two rows of the same id and time.")  # fmt: skip
@click.option("--off-clock", type=click.Choice(["refuse", "nearest", "drop"]), default="refuse",
              show_default=True, help="Rows beside the clock: move to its nearest row, or leave out.")  # fmt: skip
@click.pass_context
def command(ctx: click.Context, table: Path, out: Path, **options: Any) -> None:
    """Score each row of DATA (CSV or Parquet) by how little it looks like what its series did before.

    One causal pass, nothing to train: row t is judged from rows up to t, and a p-value says how rare its score is among
    the last ones. Values, scores, p-values and flags are written per row; missing rows stay, with empty cells.

    \b
    titans-seq detect readings.csv -o scores.csv --plot scores.png
    titans-seq detect monday.csv  -o monday-scores.csv  --state line3.state
    titans-seq detect tuesday.csv -o tuesday-scores.csv --state line3.state
    """
    from importlib import import_module

    from titans_seq.cli.talk import Talk
    from titans_seq.timeseries import TableOptions

    pipeline = import_module("titans_seq.pipelines.detect")
    reading = {
        name: options.pop(name)
        for name in ("id_col", "time_col", "target_cols", "wide", "freq", "time_zone", "time_format", "decimal_comma",
                     "duplicates", "off_clock")
    }  # fmt: skip
    with Talk(quiet=bool(ctx.find_root().params.get("quiet"))) as talk:
        job = pipeline.prepare(table=table, out=out, options=TableOptions(**reading), **options)
        text = pipeline.run(job, watch=talk.watch)
    click.echo(text)
