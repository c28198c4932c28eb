"""Series on one even time axis, as arrays: what every table becomes and what models read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from titans_seq.timeseries.clock import Clock, Ticks

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """One series: the rows of one id, on the panel's grid.

    Attributes
    ----------
    id
        The id as text; empty where the table has no id column.
    start
        Position of the first row on the panel's clock (0 where the clock counts rows).
    ticks
        Stamp of each row, (rows,); see `titans_seq.timeseries.clock`.
    values
        Targets, (rows, channels), NaN where missing. Rows that the table lacks are there, all NaN.
    covariates
        Values of the covariates, (rows, covariates), NaN where missing.
    """

    id: str
    start: int
    ticks: Ticks
    values: Values
    covariates: Values

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where a target is known, (rows, channels)."""
        return np.isfinite(self.values)

    @property
    def stop(self) -> int:
        """Position behind the last row."""
        return self.start + len(self)

    def rows(self, first: int, last: int) -> Series:
        """Cut out rows ``first`` to ``last`` (half-open, counted from this series' first row); shares memory."""
        part = slice(max(first, 0), max(last, 0))
        return Series(
            self.id, self.start + part.start, self.ticks[part], self.values[part], self.covariates[part]
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """What the columns of the table were called, and whether one was the id; files we write have the defaults."""

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"
    has_ids: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """All series of a table.

    Attributes
    ----------
    series
        In the order of their first row in the table.
    clock
        The common time axis.
    channels
        Names of the target columns.
    covariates
        Names of the covariate columns.
    names
        Column names of the table.
    notes
        What was guessed, sorted or filled while reading, a sentence each.
    """

    series: tuple[Series, ...]
    clock: Clock
    channels: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    names: Names = Names()
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.series)

    @property
    def rows(self) -> int:
        """Rows of all series, gaps included."""
        return sum(len(series) for series in self.series)

    def track_ids(self) -> list[str]:
        """Name every (series, channel) pair: the id, the channel, or both where there are several of both.

        Ids ``a b`` with one target give ``a b``; columns ``HUFL OT`` without ids give ``HUFL OT``.
        """
        return [name for series in self.series for name in self.tracks_of(series)]

    def tracks_of(self, series: Series) -> list[str]:
        """Name the channels of one series as they are called in the output."""
        if len(self.channels) == 1:
            return [series.id or self.channels[0]]
        return [f"{series.id}/{channel}" if series.id else channel for channel in self.channels]

    def until(self, tick: int) -> Panel:
        """Keep the rows up to and including a stamp; series that begin later are left out."""
        kept = (series.rows(0, int(np.searchsorted(series.ticks, tick, side="right"))) for series in self.series)
        return self.replace([series for series in kept if len(series)])

    def replace(self, series: Sequence[Series]) -> Panel:
        """Put other series into the same frame."""
        return Panel(tuple(series), self.clock, self.channels, self.covariates, self.names, self.notes)

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)
