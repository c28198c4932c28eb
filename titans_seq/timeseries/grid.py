"""Rows of a table onto an even grid: sorted, gaps filled with missing values, offenders named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.errors import InputFileError
from titans_seq.timeseries.clock import Clock, Ticks, Unit, infer_clock, stamp_text
from titans_seq.timeseries.panel import Series, Values

OffClock = Literal["refuse", "nearest", "drop"]

_MOST_GAPS = 50
"""A grid with more than this many missing rows for each given one is taken for a wrong step."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows sorted by series and time.

    Attributes
    ----------
    ids
        Ids in the order of their first row.
    owner, ticks, rows
        For each row: index of its series in ``ids``, its tick, its number in the file from 0.
    first
        Whether a row is the first of its series.
    values, covariates
        (rows, channels) and (rows, covariates), NaN where missing.
    sorted_before
        Whether the file had them in this order.
    """

    ids: list[str]
    owner: NDArray[np.int64]
    ticks: Ticks
    rows: NDArray[np.int64]
    first: NDArray[np.bool_]
    values: Values
    covariates: Values
    sorted_before: bool

    @classmethod
    def sort(cls, table: pl.DataFrame, *, targets: int, covariates: int) -> Rows:
        """Order a table with the columns ``__row__ tick id n0 n1 ...``."""
        ids = table["id"].unique(maintain_order=True)
        owner = table["id"].rank("dense").to_numpy().astype(np.int64) - 1
        # Dense ranks are alphabetical; the order of first appearance is kept instead.
        order_of = np.empty(len(ids), np.int64)
        order_of[ids.rank("dense").to_numpy().astype(np.int64) - 1] = np.arange(len(ids))
        owner = order_of[owner]
        ticks = table["tick"].to_numpy()
        ordered = bool(((np.diff(owner) > 0) | ((np.diff(owner) == 0) & (np.diff(ticks) >= 0))).all())
        order = slice(None) if ordered else np.lexsort((table["__row__"].to_numpy(), ticks, owner))
        numbers = [table[f"n{i}"].to_numpy() for i in range(targets + covariates)]
        values = np.array([column[order] for column in numbers], dtype=np.float64).T
        owner = owner[order]
        return cls(
            ids.to_list(), owner, ticks[order], table["__row__"].to_numpy()[order],
            np.r_[True, np.diff(owner) != 0], values[:, :targets], values[:, targets:], ordered,
        )  # fmt: skip

    def merge(self, same: NDArray[np.bool_], how: str) -> Rows:
        """Join each row marked in ``same`` with the one before it: the first, the last, or their mean."""
        group = np.cumsum(~same) - 1
        keep = np.flatnonzero(~same)
        last = np.r_[keep[1:], len(same)] - 1
        chosen = last if how == "last" else keep
        values, covariates = self.values[chosen], self.covariates[chosen]
        if how == "mean":
            values, covariates = (_means(part, group, len(keep)) for part in (self.values, self.covariates))
        return replace(
            self, owner=self.owner[keep], ticks=self.ticks[keep], rows=self.rows[chosen], first=self.first[keep],
            values=values, covariates=covariates,
        )  # fmt: skip

    def take(self, keep: NDArray[np.bool_]) -> Rows:
        """Leave out the rows that are not marked in ``keep``."""
        owner = self.owner[keep]
        return replace(
            self, owner=owner, ticks=self.ticks[keep], rows=self.rows[keep], first=np.r_[True, np.diff(owner) != 0],
            values=self.values[keep], covariates=self.covariates[keep],
        )  # fmt: skip

    def each(self) -> Iterator[tuple[int, slice]]:
        """Give each series' index and its rows."""
        starts = np.flatnonzero(self.first)
        for start, stop in zip(starts, np.r_[starts[1:], len(self.ticks)], strict=True):
            yield int(self.owner[start]), slice(int(start), int(stop))


def common_clock(
    rows: Rows, wanted: tuple[Unit, int] | None, *, integers: bool, zone: str | None, dates: bool, path: Path
) -> Clock:
    """Find the clock of all series, or take the one that was asked for."""
    if wanted is not None:
        unit, step = wanted
        origin = int(rows.ticks.min())
        if integers and unit not in ("integer", "row"):
            raise InputFileError(path, problem="the time column holds integers", hint="give --freq as an integer")
        if unit == "row":
            steps = np.diff(rows.ticks)[~rows.first[1:]]
            step = max(1, round(float(steps.mean()))) if len(steps) else 1
        if unit == "month":
            guess = infer_clock(rows.ticks, rows.first, integers=False)
            return replace(guess, unit="month", step=step, zone=zone, dates=dates, origin=origin)
        return Clock(unit, step, origin, zone=zone, dates=dates)
    _refuse_different_steps(rows, path)
    clock = infer_clock(rows.ticks, rows.first, integers=integers)
    return replace(clock, zone=zone, dates=dates)


def _refuse_different_steps(rows: Rows, path: Path) -> None:
    """Refuse series whose usual steps differ: one grid would not do for both."""
    if len(rows.ids) < 2:
        return
    steps = np.diff(rows.ticks)
    inside = ~rows.first[1:]
    usual = (
        pl.DataFrame({"owner": rows.owner[1:][inside], "step": steps[inside]})
        .group_by("owner", maintain_order=True)
        .agg(pl.col("step").median().alias("step"), pl.len().alias("count"))
        .filter(pl.col("count") >= 3)
        .sort("step")
    )
    if usual.is_empty():
        return
    low, high = usual.row(0, named=True), usual.row(-1, named=True)
    if high["step"] > 1.9 * low["step"]:
        names = [rows.ids[int(row["owner"])] for row in (low, high)]
        sizes = [_span(row["step"]) for row in (low, high)]
        raise InputFileError(
            path,
            problem=f"the series have different steps: {names[0]!r} every {sizes[0]}, {names[1]!r} every {sizes[1]}",
            hint="split the table, or give --freq with the shorter step",
        )  # fmt: skip


def _span(step: float) -> str:
    for name, size in (("d", 86_400e6), ("h", 3600e6), ("min", 60e6), ("s", 1e6)):
        if step >= size:
            return f"{step / size:g} {name}"
    return f"{step:g}"


def on_clock(
    rows: Rows, clock: Clock, how: OffClock, *, path: Path, first_line: int, fixed: bool, notes: list[str]
) -> Rows:
    """Refuse rows that stand beside the clock, leave them out, or move each to the clock's nearest row.

    Hourly from 00:00, ``nearest``: ``[00:00, 00:58, 02:10] -> [00:00, 01:00, 02:00]``.

    Parameters
    ----------
    fixed
        Whether the clock is that of a state or model, which no option can change.
    """
    if clock.unit == "row":
        return rows
    positions, exact = clock.positions(rows.ticks)
    if exact.all():
        return rows
    at, count = int(np.argmin(exact)), int((~exact).sum())
    stamp = stamp_text(int(rows.ticks[at]), clock)
    if how == "refuse":
        kept = "the clock was settled when the model was made, so move such rows by" if fixed else (
            "give --freq, or --freq rows to count rows instead of time; or move such rows by"
        )  # fmt: skip
        raise InputFileError(
            path, int(rows.rows[at]) + first_line,
            problem=f"{stamp} is not on the clock of {clock.name} ({count} such rows)",
            hint=f"{kept} --off-clock nearest, or leave them out by --off-clock drop",
        )  # fmt: skip
    line = f"{count} rows beside the clock of {clock.name}, first {stamp} in line {int(rows.rows[at]) + first_line}, "
    if how == "drop":
        notes.append(line + "were left out")
        if not exact.any():
            raise InputFileError(
                path, problem=f"no row stands on the clock of {clock.name}", hint="give --off-clock nearest"
            )
        return rows.take(exact)
    notes.append(line + "were moved to its nearest row")
    beside = np.stack([clock.ticks(positions + step) for step in (-1, 0, 1)])
    nearest = np.take_along_axis(beside, np.abs(beside - rows.ticks).argmin(axis=0)[None], axis=0)[0]
    return replace(rows, ticks=np.where(exact, rows.ticks, nearest))


def even_rows(rows: Rows, clock: Clock, *, path: Path, notes: list[str]) -> list[Series]:
    """Lay series, whose rows are all on the clock, on its grid; rows that the table lacks become missing values."""
    if not rows.sorted_before:
        notes.append("rows were not in the order of series and time; sorted")
    if clock.unit == "row":
        notes.append("the stamps are uneven: rows are taken as evenly spaced (give --freq to put them on a clock)")
        positions = np.arange(len(rows.ticks)) - np.repeat(*_starts(rows))
    else:
        positions, _ = clock.positions(rows.ticks)
    series = []
    gaps = filled = 0
    for owner, part in rows.each():
        here = positions[part]
        length = int(here[-1] - here[0]) + 1
        if length > _MOST_GAPS * len(here) + 1000:
            raise InputFileError(
                path, problem=f"on a clock of {clock.name}, {rows.ids[owner]!r} would have {length:,} rows, but only "
                f"{len(here):,} are given", hint="give --freq with a longer step, or --freq rows",
            )  # fmt: skip
        series.append(_on_grid(rows, owner, part, here, length, clock))
        filled += length - len(here)
        gaps += int((np.diff(here) > 1).sum())
    if filled:
        notes.append(f"{filled:,} rows in {gaps:,} gaps of the {clock.name} clock are missing values")
    missing = int(np.isnan(rows.values).sum())
    if missing:
        notes.append(f"{missing:,} cells of the target columns are missing")
    missing = int(np.isnan(rows.covariates).sum())
    if missing:
        notes.append(f"{missing:,} cells of the covariate columns are missing; their mean stands in")
    return series


def _starts(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts = np.flatnonzero(rows.first)
    return starts, np.diff(np.r_[starts, len(rows.ticks)])


def _on_grid(rows: Rows, owner: int, part: slice, here: Ticks, length: int, clock: Clock) -> Series:
    values, covariates, ticks = rows.values[part], rows.covariates[part], rows.ticks[part]
    if length > len(here):
        at = here - here[0]
        values, covariates = _spread(values, at, length), _spread(covariates, at, length)
        ticks = clock.ticks(np.arange(here[0], here[-1] + 1))
    return Series(rows.ids[owner], int(here[0]), ticks, values, covariates)


def _spread(values: Values, at: Ticks, length: int) -> Values:
    whole = np.full((length, values.shape[1]), np.nan)
    whole[at] = values
    return whole


def _means(values: Values, group: NDArray[np.int64], count: int) -> Values:
    """Average the known values of each group; NaN where none is known."""
    sums = np.zeros((count, values.shape[1]))
    known = np.zeros_like(sums)
    np.add.at(sums, group, np.nan_to_num(values))
    np.add.at(known, group, np.isfinite(values))
    return np.divide(sums, known, out=np.full_like(sums, np.nan), where=known > 0)
