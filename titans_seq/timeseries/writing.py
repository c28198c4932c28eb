"""Forecasts as tables: `unique_id, ds, titans, titans-lo-90, titans-hi-90`, with `cutoff` and `y` for backtests."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.errors import ConfigError, OutputError
from titans_seq.files import replacing
from titans_seq.timeseries.clock import Clock, Ticks
from titans_seq.timeseries.panel import Names

MODEL = "titans"


def column_of(quantile: float) -> str:
    """Name the column of a quantile: 0.05 is ``titans-lo-90``, 0.95 ``titans-hi-90``, 0.5 ``titans-median``."""
    level = round(abs(1 - 2 * quantile) * 100, 6)
    if level == 0:
        return f"{MODEL}-median"
    return f"{MODEL}-{'lo' if quantile < 0.5 else 'hi'}-{level:g}"


def stamp_column(ticks: Ticks, clock: Clock) -> pl.Series:
    """Give ticks as integers, dates, or times in the clock's zone."""
    column = pl.Series("ds", np.asarray(ticks))
    if clock.unit == "integer":
        return column
    stamps = column.cast(pl.Datetime("us"))
    if clock.zone is not None:
        return stamps.dt.replace_time_zone("UTC").dt.convert_time_zone(clock.zone)
    return stamps.cast(pl.Date) if clock.dates and not (ticks % 86_400_000_000).any() else stamps


def forecast_table(
    ids: Sequence[str], ticks: Sequence[Ticks], columns: Mapping[str, NDArray[np.float64]], *, clock: Clock, names:
    Names
) -> pl.DataFrame:  # fmt: skip
    """Lay forecasts out as a long table.

    Parameters
    ----------
    ids
        Name of each track.
    ticks
        Stamps of each track's forecast, (horizon,) each.
    columns
        By name, (tracks, horizon).
    """
    horizon = len(ticks[0])
    frame = {
        names.id: pl.Series(np.repeat(np.array(ids, dtype=object), horizon), dtype=pl.String),
        names.time: stamp_column(np.concatenate(ticks), clock),
    }
    return pl.DataFrame(frame | {name: pl.Series(values.ravel()) for name, values in columns.items()})


TABLES = (".csv", ".parquet")


def check_target(path: Path | None, *endings: str) -> None:
    """Refuse, before anything is computed, a name that nothing can be written to.

    Parameters
    ----------
    endings
        In lower case; any where none is given.

    Raises
    ------
    ConfigError
        Another ending, a folder of that name, no folder to write in.
    OutputError
        A folder that is read-only.
    """
    if path is None:
        return
    folder = path.absolute().parent
    if endings and path.suffix.lower() not in endings:
        raise ConfigError(f"{path}: expected a name ending in {' or '.join(endings)}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; expected the name of a file")
    if not folder.is_dir():
        raise ConfigError(f"{path}: no such folder to write in; create {folder} first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} is read-only; give another one")


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write CSV or Parquet, by the name's ending, whole or not at all."""
    check_target(path, *TABLES)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            frame.write_csv(temporary)
        else:
            frame.write_parquet(temporary)
