"""Scored rows as a table: one row per time stamp, and one per flagged interval; CSV or Parquet by the file's ending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.files import replacing
from titans_seq.timeseries.clock import Clock
from titans_seq.timeseries.zones import wall_time

Columns = Mapping[str, NDArray[Any] | Sequence[Any]]


def stamp_column(ticks: NDArray[np.int64], clock: Clock) -> pl.Series:
    """Give ticks as the stamps they were read from: dates, times of the clock's zone, or integers."""
    if clock.unit == "integer":
        return pl.Series(ticks)
    wall = ticks if clock.zone is None else wall_time(ticks, clock.zone)
    stamps = pl.Series(wall).cast(pl.Datetime("us"))
    if clock.dates:
        return stamps.cast(pl.Date)
    if clock.zone is None:
        return stamps
    return pl.Series(ticks).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(clock.zone)


def score_rows(columns: Columns, ticks: NDArray[np.int64], clock: Clock, *, time_name: str) -> pl.DataFrame:
    """Put columns and stamps together; NaN becomes an empty cell."""
    frame = pl.DataFrame({time_name: stamp_column(ticks, clock), **columns})
    return frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def write_rows(path: Path, frame: pl.DataFrame) -> None:
    """Write a table as Parquet where the name ends in ``.parquet``, else as CSV; whole or not at all.

    Raises
    ------
    OutputError
        No space, no permission.
    """
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            frame.with_columns(_as_text(column) for column in frame if column.dtype == pl.Datetime).write_csv(temporary)


def _as_text(stamps: pl.Series) -> pl.Series:
    """Write stamps as in ``2024-03-31 02:00:00``, with parts of a second and the offset where there are any."""
    parts = "%.f" if bool((stamps.dt.microsecond() != 0).any()) else ""
    zoned = isinstance(stamps.dtype, pl.Datetime) and stamps.dtype.time_zone is not None
    return stamps.dt.strftime(f"%Y-%m-%d %H:%M:%S{parts}{'%:z' if zoned else ''}")
