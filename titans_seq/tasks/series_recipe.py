"""What a series forecaster is made of: the windows that enter its ridge, and what they need to be carried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_moments import Window
from titans_seq.tasks.series_sources import Source
from titans_seq.timeseries.calendar import calendar_width

PROFILE_RATES: Final = (0.25, 0.06)
"""Shares of a cycle by which the two profiles of a season move: one of the last month or so, one of the last dozens."""
LEVEL_CYCLES: Final = (7, 56)
"""Cycles of the shortest season over which the two levels average."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The shape of a forecaster; with its weights and scales it is a model.

    Attributes
    ----------
    horizon
        Rows forecast at once.
    lookback
        Rows of the window whose mean is taken off.
    seasons
        Cycles in rows, shortest first; the first fills gaps and is the seasonal baseline. ``(1,)`` without any.
    parts
        Names of what is carried beside the lookback: ``profile 24``, ``level``, ``calendar``, ``year``.
    calendar
        Cycles of the calendar, for the part of that name.
    year
        Rows from a row to the one a year ago (52 weeks); 0 where there is none.
    penalty
        Of the ridge, on standardised values, against sums over origins.
    """

    horizon: int
    lookback: int
    seasons: tuple[int, ...] = (1,)
    parts: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    year: int = 0
    penalty: float = 100.0

    @property
    def sources(self) -> tuple[Source, ...]:
        """The filters whose last numbers are carried, the value first."""
        sources = [Source("value", self.seasons[0])]
        for season in self.seasons:
            if f"profile {season}" in self.parts:
                sources += [Source("profile", season, rate) for rate in PROFILE_RATES]
        if "level" in self.parts or "year" in self.parts:
            sources += [Source("level", 1, 1 / (cycles * self.seasons[0])) for cycles in LEVEL_CYCLES]
        return tuple(sources)

    @property
    def windows(self) -> tuple[Window, ...]:
        """The features in order; calendar columns follow the sources."""
        sources = self.sources
        windows = [Window("lookback", 0, 1 - self.lookback, self.lookback)]
        for at, source in enumerate(sources):
            if source.kind == "profile":
                windows.append(Window(f"profile {source.season}", at, 1 - source.season, source.season))
            elif source.kind == "level" and "level" in self.parts:
                windows.append(Window("level", at, 0, 1))
        if "year" in self.parts:
            level = next(at for at, source in enumerate(sources) if source.kind == "level")
            back = min(max(self.seasons), self.year)
            windows.append(Window("year", 0, 1 - back - self.year, back + min(self.horizon, self.year)))
            windows.append(Window("year", level, -self.year, 1))
        if "calendar" in self.parts:
            first = len(sources)
            windows += [
                Window("calendar", first + i, 0, 1, centred=False) for i in range(calendar_width(self.calendar))
            ]
        return tuple(windows)

    @property
    def target(self) -> Window:
        """The rows to be forecast."""
        return Window("target", 0, 1, self.horizon)

    @property
    def reach(self) -> int:
        """Rows up to and including the origin that the features look at."""
        return max(1 - window.start for window in self.windows)

    @property
    def kept(self) -> int:
        """Rows of the sources that forecasting, and learning from a forecast once it is realised, need."""
        return max(self.reach + self.horizon, max(source.memory for source in self.sources) + 1)

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(window.length for window in self.windows)

    def with_parts(self, parts: tuple[str, ...]) -> Recipe:
        """Give the same recipe with other parts."""
        return replace(self, parts=parts)

    def to_json(self) -> dict[str, Any]:
        """Write as plain lists and numbers."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Undo `to_json`."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
        return cls(**plain)


def centre(z: NDArray[np.float64], windows: tuple[Window, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take the mean of the lookback (the first window) off all centred columns of ``z`` (..., width).

    Returns
    -------
    z
        Centred.
    mean
        What was taken off, (..., 1).
    """
    mean = z[..., : windows[0].length].mean(axis=-1, keepdims=True)
    return z - mean * centred_columns(windows), mean


def centred_columns(windows: tuple[Window, ...]) -> NDArray[np.float64]:
    """Mark with 1 the columns whose mean is taken off, (width,)."""
    return np.repeat([float(window.centred) for window in windows], [window.length for window in windows])


def centre_moments(whole: NDArray[np.float64], centred: NDArray[np.float64], lookback: int) -> NDArray[np.float64]:
    """Give the moments of centred columns from those of plain ones.

    With s marking the centred columns and w averaging the first ``lookback`` columns, the columns become z - s (w
    z), so their moments are ``(I - s w^T) M (I - w s^T)``.

    Parameters
    ----------
    whole
        Moments, (width, width); the first ``lookback`` columns are the lookback.
    centred
        s, (width,).
    """
    cross = whole[:, :lookback].mean(axis=1)
    middle = cross[:lookback].mean()
    return whole - np.outer(centred, cross) - np.outer(cross, centred) + middle * np.outer(centred, centred)


def solve(features: NDArray[np.float64], products: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """Solve the ridge ``(G + penalty I) W = P`` for the weights W, (features, horizon)."""
    ridge = features + penalty * np.eye(len(features))
    return np.asarray(np.linalg.solve(ridge, products), dtype=np.float64)
