"""Tables of series, long or wide, CSV or Parquet, read block by block into a `Panel`.

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
from titans_seq.timeseries.cells import WITH_OFFSET
from titans_seq.timeseries.clock import Clock, parse_frequency
from titans_seq.timeseries.columns import Columns, choose_columns
from titans_seq.timeseries.grid import OffClock, Rows, common_clock, even_rows, on_clock
from titans_seq.timeseries.panel import Names, Panel
from titans_seq.timeseries.reading import Bounds, Reader
from titans_seq.timeseries.sources import FrameTable, Table, first_rows, open_table
from titans_seq.timeseries.zones import parse_moment

_log = logging.getLogger(__name__)

Duplicates = Literal["refuse", "first", "last", "mean"]
_SAMPLE = 1000


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
    off_clock
        What to do with rows that stand beside the clock: refuse them, move each to its nearest row, or drop them.
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
    off_clock: OffClock = "refuse"
    max_rows: int = 0


def read_table(
    path: str | Path, options: TableOptions | None = None, *, clock: Clock | None = None,
    newer_than: int | None = None, as_of: str | None = None,
) -> Panel:  # fmt: skip
    """Read a table of series.

    ``unique_id,ds,y`` with rows ``a,2024-01-01,1`` and ``a,2024-01-03,3`` and a step of a day gives one series of
    values ``1 NaN 3``.

    Parameters
    ----------
    path
        CSV (plain or gzip; comma, semicolon, tab or bar) or Parquet.
    clock
        The clock that the rows must stand on, for rows that continue a series; guessed from the rows otherwise.
    newer_than
        Tick of that clock: rows at or before it are left where they are, however many.
    as_of
        A moment as a user writes it: rows later than it are as if they were not there.

    Raises
    ------
    InputFileError
        With the line and column of what cannot be read.
    ConfigError, UnknownNameError
        For options that do not fit the table; where every row is later than ``as_of``.
    """
    bounds = Bounds(newer_than=newer_than, as_of=as_of)
    return _read(open_table(Path(path)), options or TableOptions(), clock, bounds)


def read_frame(frame: pl.DataFrame, options: TableOptions | None = None, *, clock: Clock | None = None) -> Panel:
    """Read a table that is in memory already; rows are counted from 1 in messages. See `read_table`."""
    return _read(FrameTable(frame), options or TableOptions(), clock, Bounds())


def _read(table: Table, options: TableOptions, clock: Clock | None, bounds: Bounds) -> Panel:
    path = table.path
    sample, lines = first_rows(table, _SAMPLE)
    if sample.is_empty():
        raise InputFileError(path, expected="rows below the header", found="none")
    columns = choose_columns(
        sample, path, lines=lines,
        id_col=options.id_col, time_col=options.time_col, target_cols=options.target_cols,
        covariates=options.covariates, wide=options.wide, time_format=options.time_format,
        decimal_comma=options.decimal_comma,
    )  # fmt: skip
    notes = [columns.describe()]
    _log.info(notes[0])
    target = columns.targets[0] if len(columns.targets) == 1 else "y"
    names = Names(columns.id or "unique_id", columns.time, target, has_ids=columns.id is not None)
    reader = Reader(
        table, columns, zone=options.time_zone, decimal_comma=options.decimal_comma, max_rows=options.max_rows,
        bounds=bounds,
    )  # fmt: skip
    rows = reader.read()
    notes += reader.notes
    if rows is None and clock is not None:
        return Panel((), clock, columns.targets, columns.covariates, names, tuple(notes))
    if rows is None and bounds.as_of is not None:
        raise ConfigError(f"--as-of {bounds.as_of}: every row is later")
    if rows is None:
        raise InputFileError(path, expected="rows below the header", found="none")
    first_line = table.first_line
    rows = _without_duplicates(rows, path, options.duplicates, columns, first_line=first_line, notes=notes)
    fixed = clock is not None
    if clock is None:
        wanted = parse_frequency(options.freq) if options.freq else None
        clock = common_clock(
            rows, wanted, integers=columns.integers, zone=reader.zone, dates=reader.dates(rows), path=path
        )
    _check_clock(clock, options, fixed=fixed)
    rows = on_clock(rows, clock, options.off_clock, path=path, first_line=first_line, fixed=fixed, notes=notes)
    rows = _without_duplicates(rows, path, options.duplicates, columns, first_line=first_line, notes=notes)
    series = even_rows(rows, clock, path=path, notes=notes)
    for note in notes[1:]:
        _log.info(note)
    panel = Panel(tuple(series), clock, columns.targets, columns.covariates, names, tuple(notes))
    return panel if bounds.as_of is None else _until(panel, bounds.as_of)


def _check_clock(clock: Clock, options: TableOptions, *, fixed: bool) -> None:
    """Refuse options that the clock leaves without an effect."""
    if fixed and options.freq:
        unit, step = parse_frequency(options.freq)
        if unit != clock.unit or (unit != "row" and step != clock.step):
            raise ConfigError(
                f"--freq {options.freq}: the clock was settled as {clock.name} when the model was made; leave it out"
            )
    if clock.unit == "row" and options.off_clock != "refuse":
        raise ConfigError(
            f"--off-clock {options.off_clock}: the stamps are uneven, so rows are counted and none is beside a clock; "
            + ("leave it out" if fixed else "name the step of one by --freq")
        )


def _until(panel: Panel, as_of: str) -> Panel:
    """Cut at a moment; `Bounds` leaves a day of margin where stamps have a zone."""
    kept = panel.until(parse_moment(as_of, panel.clock))
    if not kept.series:
        raise ConfigError(f"--as-of {as_of}: every row is later")
    return kept


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
        moment = np.datetime64(int(rows.ticks[at]), "us").astype("M8[s]")
        if columns.id is None and count > len(same) / 4:
            hint = (
                "name the column that tells the series apart by --id-col; where the time of day stands in a column of "
                f"its own, join it to the date; or {hint}"
            )
        elif columns.readings != (WITH_OFFSET,) and not columns.integers:
            hint += "; if this is an hour repeated when clocks go back, give --time-zone"
        raise InputFileError(
            path, lines[1], problem=f"the same time{who} stands in line {lines[0]} already ({count} such rows)"
            + (f"; with its offset it is {moment} UTC" if columns.readings == (WITH_OFFSET,) else ""),
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
