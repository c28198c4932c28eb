"""Covariates that are known in advance: which columns they are, and their values in the rows to be forecast."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.errors import ConfigError, InputFileError, unknown_name
from titans_seq.timeseries.clock import Clock, Ticks, stamp_text
from titans_seq.timeseries.columns import TARGET_NAMES, choose_columns
from titans_seq.timeseries.panel import Names, Panel
from titans_seq.timeseries.sources import first_rows, open_table
from titans_seq.timeseries.table import TableOptions, read_frame, read_table

_log = logging.getLogger(__name__)

SHOWN: Final = 3
"""Missing pairs that a message names."""


def covariate_names(data: Path, future: Path, options: TableOptions) -> tuple[str, ...]:
    """Name the columns of a table of the future that are neither id nor time.

    Raises
    ------
    InputFileError
        No such column; a target among them.
    UnknownNameError
        A column that the table of the past lacks: what it did there cannot be learned.
    """
    sample, lines = first_rows(open_table(data), 1000)
    header = header_of(future)
    columns = choose_columns(
        sample, data, lines=lines, id_col=options.id_col, time_col=options.time_col, target_cols=options.target_cols,
        wide=options.wide, time_format=options.time_format, decimal_comma=options.decimal_comma,
    )  # fmt: skip
    if columns.time not in header:
        raise unknown_name(f"column of {future}: the time", columns.time, header)
    named = options.target_cols or tuple(name for name in columns.targets if name.lower() in TARGET_NAMES)
    refuse_targets(future, header, named)
    found = tuple(name for name in header if name not in (columns.id, columns.time))
    for name in found:
        if name not in sample.columns:
            raise unknown_name(f"column of {data}, of which {future} gives the future:", name, sample.columns)
    if not found:
        raise InputFileError(future, expected="columns beside id and time", found=", ".join(header))
    left = [name for name in columns.targets if name not in found]
    if not left:
        refuse_targets(future, header, columns.targets)
    return found


def header_of(path: Path) -> list[str]:
    """Name the columns of a table."""
    return open_table(path).schema.names()


def refuse_targets(future: Path, header: Sequence[str], targets: Sequence[str]) -> None:
    """Refuse a table of the future that holds what is to be forecast."""
    for name in targets:
        if name in header:
            raise InputFileError(
                future, problem=f"holds the target {name!r}, which nobody knows in advance",
                hint="remove that column, or say what is to be forecast by --target-col",
            )  # fmt: skip


def read_future(path: Path, options: TableOptions, *, clock: Clock, names: Names, covariates: Sequence[str]) -> Panel:
    """Read a table of the future on the clock of the past; the covariates stand in the place of targets.

    A table without the id column holds for every series: a calendar of holidays, say.
    """
    return read_table(path, _options(options, clock, names, covariates, header_of(path)), clock=_even(clock))


def future_frame(
    frame: pl.DataFrame, options: TableOptions, *, clock: Clock, names: Names, covariates: Sequence[str]
) -> Panel:
    """Read a table of the future that is in memory already; see `read_future`."""
    return read_frame(frame, _options(options, clock, names, covariates, frame.columns), clock=_even(clock))


def coming_rows(
    future: Panel, ids: Sequence[str], ticks: Sequence[Ticks], *, covariates: Sequence[str], path: Path
) -> NDArray[np.float64]:
    """Give the covariates of the rows to be forecast, (series, horizon, covariates).

    Parameters
    ----------
    ids, ticks
        Each series and the stamps of its coming rows, (horizon,).

    Raises
    ------
    InputFileError
        Pairs of id and time that the table lacks, or that hold no number; the first are named.
    """
    for name in covariates:
        if name not in future.channels:
            raise InputFileError(
                path, expected=f"the column {name!r}, which changes within a series and helps the forecast",
                found=", ".join(future.channels), hint="add it",
            )  # fmt: skip
    columns = [future.channels.index(name) for name in covariates]
    at = {series.id: series for series in future}
    used = 0
    coming = np.full((len(ids), len(ticks[0]), len(columns)), np.nan)
    for number, (name, wanted) in enumerate(zip(ids, ticks, strict=True)):
        series = at.get(name, at.get(""))
        if series is None:
            continue
        place = np.clip(np.searchsorted(series.ticks, wanted), 0, len(series) - 1)
        found = series.ticks[place] == wanted
        coming[number, found] = series.values[place[found]][:, columns]
        used += int(found.sum()) if name in at else 0
    missing = np.argwhere(np.isnan(coming))
    if len(missing):
        pairs = np.unique(missing[:, :2], axis=0)
        shown = [_pair(ids[i], int(ticks[i][step]), future.clock) for i, step in pairs[:SHOWN].tolist()]
        more = f" and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
        raise InputFileError(
            path,
            problem=f"{len(pairs):,} of the {coming.shape[0] * coming.shape[1]:,} rows to be forecast are missing or "
            f"lack {covariates[int(missing[0, 2])]!r}: {', '.join(shown)}{more}",
            hint="add them; each series needs every row of the horizon",
        )  # fmt: skip
    if "" not in at and future.rows > used:
        _log.info("%s: %s rows lie outside the horizon or belong to no series; not used", path, future.rows - used)
    return coming


def _options(
    options: TableOptions, clock: Clock, names: Names, covariates: Sequence[str], header: Sequence[str]
) -> TableOptions:
    has_ids = names.has_ids and names.id in header
    return replace(
        options, id_col=names.id if has_ids else None, time_col=names.time, target_cols=tuple(covariates),
        covariates=(), wide=False, time_zone=options.time_zone or clock.zone, freq=None,
    )  # fmt: skip


def _even(clock: Clock) -> Clock:
    if clock.unit == "row":
        raise ConfigError("the stamps are uneven, so no row of --future can be matched to them; give --freq")
    return clock


def _pair(name: str, tick: int, clock: Clock) -> str:
    return f"({name}, {stamp_text(tick, clock)})" if name else stamp_text(tick, clock)
