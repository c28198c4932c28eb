"""What a series forecaster is made of: the windows that enter its ridge, and what they need to be carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import unknown_name
from titans_seq.tasks.series_moments import Window
from titans_seq.tasks.series_sources import Source
from titans_seq.timeseries.calendar import calendar_width

PROFILE_RATES: Final = (0.25, 0.06)
"""Shares of a cycle by which the two profiles of a season move: one of the last month or so, one of the last dozens."""
LEVEL_CYCLES: Final = (7, 56)
"""Cycles of the shortest season over which the two levels average."""


@dataclass(frozen=True, slots=True)
class Covariate:
    """A column known in advance, or constant within each series.

    Attributes
    ----------
    name
        Of the column.
    static
        Whether it is constant within each series; its last value then stands for the rows to come.
    mean, deviation
        What standardises it, over all series of the training rows.
    """

    name: str
    static: bool
    mean: float
    deviation: float

    @property
    def part(self) -> str:
        """Name of the part that it makes: ``static size`` or ``future holiday``."""
        return f"{'static' if self.static else 'future'} {self.name}"


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
        Names of what enters beside the lookback: ``profile 24``, ``level``, ``calendar``, ``year``, and for a
        covariate ``future NAME`` or ``static NAME``.
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
    covariates: tuple[Covariate, ...] = ()

    @property
    def inputs(self) -> tuple[Covariate, ...]:
        """The covariates that have a part."""
        return tuple(covariate for covariate in self.covariates if covariate.part in self.parts)

    @property
    def foreknown(self) -> tuple[Covariate, ...]:
        """The inputs whose coming rows a forecast needs."""
        return tuple(covariate for covariate in self.inputs if not covariate.static)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The filters whose last numbers are carried, the value first."""
        sources = [Source("value", self.seasons[0])]
        for season in self.seasons:
            if f"profile {season}" in self.parts:
                sources += [Source("profile", season, rate) for rate in PROFILE_RATES]
        if "level" in self.parts or "year" in self.parts:
            sources += [Source("level", 1, 1 / (cycles * self.seasons[0])) for cycles in LEVEL_CYCLES]
        return (*sources, *(Source("covariate") for _ in self.inputs))

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
        for at, covariate in enumerate(self.inputs, start=len(sources) - len(self.inputs)):
            # The rows before the origin too, so that what a covariate did to the lookback is not taken for the level.
            back = 0 if covariate.static else covariate_reach(self.seasons, self.horizon)
            ahead = 0 if covariate.static else self.horizon
            windows.append(Window(covariate.part, at, min(0, 1 - back), max(1, back) + ahead, centred=False))
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
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return plain | {"covariates": [asdict(covariate) for covariate in self.covariates]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Undo `to_json`."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
        covariates = tuple(Covariate(**words) for words in plain.pop("covariates", ()))
        return cls(**plain, covariates=covariates)


def take_inputs(
    covariates: tuple[Covariate, ...], names: Sequence[str], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pick covariates out of a table's columns, standardised, (rows, covariates); 0 where missing.

    Parameters
    ----------
    names, values
        Columns of the table, (rows, names).

    Raises
    ------
    UnknownNameError
        A covariate that the table lacks.
    """
    columns = np.zeros((len(values), len(covariates)))
    for at, covariate in enumerate(covariates):
        if covariate.name not in names:
            raise unknown_name("covariate of the table", covariate.name, names)
        column = values[:, list(names).index(covariate.name)]
        columns[:, at] = np.nan_to_num((column - covariate.mean) / covariate.deviation)
    return columns


def covariate_reach(seasons: tuple[int, ...], horizon: int) -> int:
    """Give the rows up to the origin of which a covariate's values enter: a short season, two days of hours at most."""
    return min(seasons[0] if seasons[0] > 1 else horizon, 48)


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
