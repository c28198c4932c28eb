"""Tables of series, long or wide, CSV or Parquet, read lazily with polars into a `Panel`.

Nothing is dropped silently: what is sorted, filled or guessed is a note of the panel and a line in the log; what cannot
be read is refused with its line and column and with the option that would help.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from titans_seq.errors import ConfigError, InputFileError
from titans_seq.timeseries.cells import WITH_OFFSET, is_missing, number_cells, time_cells
from titans_seq.timeseries.clock import Clock, parse_frequency
from titans_seq.timeseries.columns import Columns, choose_columns
from titans_seq.timeseries.extent import newest_rows
from titans_seq.timeseries.grid import Rows, common_clock, even_rows
from titans_seq.timeseries.panel import Names, Panel
from titans_seq.timeseries.sources import open_table
from titans_seq.timeseries.zones import local_to_utc, wall_time

_log = logging.getLogger(__name__)

Duplicates = Literal["refuse", "first", "last", "mean"]
_SAMPLE = 1000
_ROW = "__row__"


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How a table is read; everything left out is guessed, and the guess is logged.

    Attributes
    ----------
    id_col, time_col, target_cols, covariates
        Names of columns.
    wide
        Every number column is a series of its own.
    freq
        Step of the clock, as in `titans_seq.timeseries.clock.parse_frequency`.
    time_zone
        Zone of stamps that are written without one, and the zone the output is written in.
    time_format
        Format of the time column in strftime's letters.
    decimal_comma
        Numbers are written 3,14.
    duplicates
        What to do with two rows of the same id and time.
    max_rows
        Newest rows of all series together that are looked at; 0 for all. See `titans_seq.timeseries.extent`.
    """

    id_col: str | None = None
    time_col: str | None = None
    target_cols: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    wide: bool = False
    freq: str | None = None
    time_zone: str | None = None
    time_format: str | None = None
    decimal_comma: bool = False
    duplicates: Duplicates = "refuse"
    max_rows: int = 0


def read_table(
    path: str | Path, options: TableOptions | None = None, *, clock: Clock | None = None, newer_than: int | None = None
) -> Panel:
    """Read a table of series.

    ``unique_id,ds,y`` with rows ``a,2024-01-01,1`` and ``a,2024-01-03,3`` and a step of a day gives one series of
    values ``1 NaN 3``.

    Parameters
    ----------
    path
        CSV (plain or gzip; comma, semicolon or tab) or Parquet.
    clock
        The clock that the rows must stand on, for rows that continue a series; guessed from the rows otherwise.
    newer_than
        Tick of that clock: rows at or before it are left where they are, however many.

    Raises
    ------
    InputFileError
        With the line and column of what cannot be read.
    ConfigError, UnknownNameError
        For options that do not fit the table.
    """
    frame, is_text = open_table(Path(path))
    return _read(Path(path), frame, options or TableOptions(), clock, is_text=is_text, newer_than=newer_than)


def read_frame(frame: pl.DataFrame, options: TableOptions | None = None, *, clock: Clock | None = None) -> Panel:
    """Read a table that is in memory already; rows are counted from 1 in messages. See `read_table`."""
    return _read(Path("table"), frame.lazy(), options or TableOptions(), clock, is_text=False)


def _read(
    path: Path, frame: pl.LazyFrame, options: TableOptions, clock: Clock | None, *, is_text: bool,
    newer_than: int | None = None,
) -> Panel:  # fmt: skip
    columns = choose_columns(
        frame.head(_SAMPLE).collect(), path,
        id_col=options.id_col, time_col=options.time_col, target_cols=options.target_cols,
        covariates=options.covariates, wide=options.wide, time_format=options.time_format,
        decimal_comma=options.decimal_comma,
    )  # fmt: skip
    notes = [columns.describe()]
    _log.info(notes[0])
    target = columns.targets[0] if len(columns.targets) == 1 else "y"
    names = Names(columns.id or "unique_id", columns.time, target, has_ids=columns.id is not None)
    reader = _Reader(path, frame, columns, options, is_text=is_text, newer_than=newer_than)
    rows, zone, dates = reader.read()
    notes += reader.notes
    if rows is None and clock is not None:
        return Panel((), clock, columns.targets, columns.covariates, names, tuple(notes))
    if rows is None:
        raise InputFileError(path, expected="rows below the header", found="none")
    rows = _without_duplicates(rows, path, options.duplicates, columns, first_line=reader.first_line, notes=notes)
    if clock is None:
        wanted = parse_frequency(options.freq) if options.freq else None
        clock = common_clock(rows, wanted, integers=columns.integers, zone=zone, dates=dates, path=path)
    series = even_rows(rows, clock, path=path, first_line=reader.first_line, notes=notes)
    for note in notes[1:]:
        _log.info(note)
    return Panel(tuple(series), clock, columns.targets, columns.covariates, names, tuple(notes))


class _Reader:
    """One pass over the file: text to ticks and numbers, with the line of whatever cannot be read."""

    def __init__(
        self, path: Path, frame: pl.LazyFrame, columns: Columns, options: TableOptions, *, is_text: bool,
        newer_than: int | None,
    ) -> None:  # fmt: skip
        self.path = path
        self.newer_than = newer_than
        self.notes: list[str] = []
        self.columns = columns
        self.options = options
        self.first_line = 2 if is_text else 1  # line 1 of a CSV is the header; Parquet rows are counted from 1
        self.schema = frame.head(0).collect().schema
        self.frame = frame.with_row_index(_ROW)

    def read(self) -> tuple[Rows | None, str | None, bool]:
        """Give the rows sorted by id and time (None without any), the zone of their stamps, whether they are dates."""
        columns, options = self.columns, self.options
        reading = self._one_reading()
        self._narrow(reading)
        numbers = (*columns.targets, *columns.covariates)
        kept = [pl.col(_ROW).cast(pl.Int64), self._ticks(reading).alias("tick")]
        if columns.id is not None:
            kept.append(pl.col(columns.id).cast(pl.String).alias("id"))
        kept += [self._number(name).alias(f"n{i}") for i, name in enumerate(numbers)]
        bad = [self._bad(name).any().alias(f"b{i}") for i, name in enumerate(numbers)]
        table = self.frame.select(kept).collect(engine="streaming")
        if table.is_empty():
            return None, None, False
        flags = self.frame.select(bad).collect(engine="streaming").row(0)
        for name, flag in zip(numbers, flags, strict=True):
            if flag:
                self._refuse_number(name)
        if table["tick"].null_count():
            self._refuse_time(table, reading)
        zone = options.time_zone
        if reading == WITH_OFFSET or getattr(self.schema[columns.time], "time_zone", None) is not None:
            zone = zone or getattr(self.schema[columns.time], "time_zone", None) or "UTC"
            lines = None
        else:
            lines = table[_ROW].to_numpy() + self.first_line
        if "id" not in table.columns:
            table = table.with_columns(pl.lit("").alias("id"))
        if table["id"].null_count():
            line = table.filter(pl.col("id").is_null())[_ROW][0] + self.first_line
            raise InputFileError(self.path, int(line), problem=f"the id {columns.id!r} is empty")
        if zone is not None and lines is not None and not columns.integers:
            ids = table["id"].rank("dense").to_numpy() if columns.id is not None else None
            ticks = local_to_utc(table["tick"].to_numpy(), zone, lines=lines, groups=ids, path=self.path)
            table = table.with_columns(pl.Series("tick", ticks))
        rows = Rows.sort(table, targets=len(columns.targets), covariates=len(columns.covariates))
        midnight = rows.ticks if zone is None or columns.integers else wall_time(rows.ticks, zone)
        dates = not columns.integers and bool((midnight % 86_400_000_000 == 0).all())
        return rows, zone, dates

    def _narrow(self, reading: str | None) -> None:
        """Leave out, before anything is kept in memory, the rows that are not asked for."""
        tick = self._ticks(reading)
        if self.newer_than is not None:
            # Stamps may be in wall time here: a day of margin, and whoever asked cuts exactly.
            margin = 0 if self.columns.integers else 86_400_000_000
            self.frame = self.frame.filter(tick.is_null() | (tick > self.newer_than - margin))
        numbers = len(self.columns.targets) + len(self.columns.covariates)
        most = self.options.max_rows
        extent = newest_rows(self.frame, tick, self.columns.id, max_rows=most, numbers=numbers, path=self.path)
        self.frame = extent.frame
        self.notes += [extent.note] if extent.note is not None else []

    def _one_reading(self) -> str | None:
        readings = self.columns.readings
        if len(readings) < 2:
            return readings[0] if readings else None
        cells = [time_cells(self.columns.time, reading).is_not_null().all().alias(reading) for reading in readings]
        fits = self.frame.select(cells).collect(engine="streaming").row(0)
        left = [reading for reading, fit in zip(readings, fits, strict=True) if fit] or list(readings[:1])
        if len(left) > 1:
            raise InputFileError(
                self.path, problem=f"column {self.columns.time!r} can be read as {' or '.join(left)}",
                hint="say which by --time-format",
            )  # fmt: skip
        return left[0]

    def _ticks(self, reading: str | None) -> pl.Expr:
        name = self.columns.time
        if reading is not None:
            return time_cells(name, reading)
        dtype = self.schema[name]
        if self.columns.integers:
            return pl.col(name).str.strip_chars().cast(pl.Int64) if dtype == pl.String else pl.col(name).cast(pl.Int64)
        return pl.col(name).cast(pl.Datetime("us")).dt.epoch("us")

    def _number(self, name: str) -> pl.Expr:
        if self.schema[name] == pl.String:
            value = number_cells(name, decimal_comma=self.options.decimal_comma)
        else:
            value = pl.col(name).cast(pl.Float64)
        return value.fill_nan(None)

    def _bad(self, name: str) -> pl.Expr:
        known = pl.col(name).is_not_null()
        if self.schema[name] == pl.String:
            known = ~is_missing(name)
        value = self._number(name)
        return (known & value.is_null() & ~self._is_nan(name)) | value.is_infinite().fill_null(value=False)

    def _is_nan(self, name: str) -> pl.Expr:
        if self.schema[name] == pl.String:
            return pl.lit(value=False)
        return pl.col(name).cast(pl.Float64).is_nan().fill_null(value=False)

    def _refuse_number(self, name: str) -> None:
        first = self.frame.filter(self._bad(name)).select(_ROW, name).head(1).collect().row(0)
        line, cell = int(first[0]) + self.first_line, str(first[1])
        hint = "leave the cell empty where the value is missing"
        if cell.count(",") == 1 and not self.options.decimal_comma:
            hint = "give --decimal-comma"
        elif cell.strip().lower().lstrip("+-") in ("inf", "infinity"):
            hint = "an infinite value cannot be learned from; leave the cell empty to mark it missing"
        raise InputFileError(
            self.path, line, problem=f"column {name!r}", expected="a number", found=repr(cell), hint=hint
        )

    def _refuse_time(self, table: pl.DataFrame, reading: str | None) -> None:
        row = int(table.filter(pl.col("tick").is_null())[_ROW][0])
        cell = self.frame.filter(pl.col(_ROW) == row).select(self.columns.time).collect().item()
        form = "a stamp" if reading is None else f"a stamp like the others ({reading})"
        raise InputFileError(
            self.path, row + self.first_line, problem=f"column {self.columns.time!r}", expected=form,
            found=repr(cell), hint="mixed formats, or stamps with and without a zone, cannot be told apart",
        )  # fmt: skip


def _without_duplicates(
    rows: Rows, path: Path, how: Duplicates, columns: Columns, *, first_line: int, notes: list[str]
) -> Rows:
    """Refuse or merge rows of the same id and time."""
    same = np.r_[False, ~rows.first[1:] & (np.diff(rows.ticks) == 0)]
    if not same.any():
        return rows
    count = int(same.sum())
    at = int(np.argmax(same))
    lines = sorted((int(rows.rows[at - 1]) + first_line, int(rows.rows[at]) + first_line))
    if how == "refuse":
        who = f" of {rows.ids[rows.owner[at]]!r}" if columns.id is not None else ""
        hint = "give --duplicates mean, first or last"
        if columns.id is None and count > len(same) / 4:
            hint = "name the column that tells the series apart by --id-col, or " + hint
        elif not columns.integers:
            hint += "; if this is an hour repeated when clocks go back, give --time-zone"
        raise InputFileError(
            path, lines[1], problem=f"the same time{who} stands in line {lines[0]} already ({count} such rows)",
            hint=hint,
        )  # fmt: skip
    notes.append(f"{count} rows of the same id and time merged ({how}), first in lines {lines[0]} and {lines[1]}")
    return rows.merge(same, how)


def check_same_channels(panel: Panel, channels: tuple[str, ...], *, path: Path) -> None:
    """Refuse a table whose targets are not those a model or state was made for."""
    if panel.channels != channels:
        raise ConfigError(
            f"{path}: expected the targets {', '.join(channels)}, found {', '.join(panel.channels)}; name them by "
            "--target-col"
        )
