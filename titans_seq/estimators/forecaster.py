"""`TitansForecaster`: forecast, intervals and a carried state for tables of series in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from titans_seq.config.correction import CorrectionSection
from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import DtypeError
from titans_seq.tasks.series_files import Snapshot
from titans_seq.timeseries import Panel, TableOptions
from titans_seq.timeseries.future import future_frame
from titans_seq.timeseries.table import read_frame
from titans_seq.training.series_correction import describe_trial, fit_corrected
from titans_seq.training.series_covariates import coming_of
from titans_seq.training.series_output import describe_choice, forecast_frame, quantiles_of
from titans_seq.training.series_rows import known_options


class TitansForecaster(BaseEstimator):
    """Forecast series; new rows are taken in at their own cost.

    The model is a ridge over lookback and carried state, chosen on the last rows (`titans_seq.tasks.series_ridge`).

    Parameters
    ----------
    horizon
        Rows forecast at once.
    level
        Intervals in percent that `predict` gives.
    max_lookback
        Longest window that may be chosen, in rows.
    id_col, time_col, target_col
        Names of columns; guessed where None.
    freq
        Step of the clock; guessed where None.
    covariates
        Columns known in advance, or the same throughout a series.
    minutes
        What `fit` may take at most; then the best found so far is kept.
    correction
        ``auto`` also trains a memory on what the ridge leaves over, where the table has many series, and keeps it where
        it helps on series that it has not seen; ``always`` does so for few; ``never``.

    Attributes
    ----------
    method_ : str
        What ships: ``structured ridge``, ``ridge``, or the baseline that no ridge beat.
    remarks_ : list of str
        What was tried, what it is worth, what was left out.
    state_bytes_ : int
        Size of the carried state; it does not grow.

    Examples
    --------
    >>> import numpy as np, polars as pl
    >>> t = np.arange(400)
    >>> hours = np.datetime64("2024-01-01T00", "us") + t * np.timedelta64(1, "h")
    >>> table = pl.DataFrame({"ds": hours, "y": np.sin(2 * np.pi * t / 24)})
    >>> forecaster = TitansForecaster(horizon=24).fit(table[:300])
    >>> forecaster.predict().columns
    ['unique_id', 'ds', 'titans', 'titans-lo-90', 'titans-hi-90']
    >>> again = forecaster.observe(table[300:]).predict()
    >>> str(again["ds"][0])
    '2024-01-17 16:00:00'
    """

    def __init__(
        self,
        horizon: int = 96,
        *,
        level: Sequence[float] = (90,),
        max_lookback: int = 512,
        id_col: str | None = None,
        time_col: str | None = None,
        target_col: str | None = None,
        freq: str | None = None,
        covariates: Sequence[str] = (),
        minutes: float = 10.0,
        correction: Literal["auto", "always", "never"] = "never",
    ) -> None:
        self.horizon = horizon
        self.level = level
        self.max_lookback = max_lookback
        self.id_col = id_col
        self.time_col = time_col
        self.target_col = target_col
        self.freq = freq
        self.covariates = covariates
        self.minutes = minutes
        self.correction = correction

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to a table: a polars or pandas frame, or an array (rows,) or (rows, series) without stamps."""
        panel = read_frame(_frame(X), self._options())
        settings = SeriesSection(
            horizon=self.horizon, max_lookback=self.max_lookback, minutes=self.minutes,
            correction=CorrectionSection(tried=self.correction),
        )  # fmt: skip
        fitted, trial = fit_corrected(panel, settings)
        self._snapshot = Snapshot(fitted.model, fitted.state, panel.names)
        self.method_ = fitted.model.method
        self.remarks_ = [*describe_choice(fitted.choice, fitted.model), *describe_trial(trial)]
        self.state_bytes_ = fitted.state.nbytes
        return self

    def observe(self, X: Any) -> Self:
        """Read rows that are newer than all read so far; the forecast then equals one pass over everything."""
        check_is_fitted(self, "method_")
        snapshot = self._snapshot
        frame = _frame(X, first=int(snapshot.state.position.max()) + 1)
        options = known_options(self._options(), snapshot.model, snapshot.names)
        panel: Panel = read_frame(frame, options, clock=snapshot.model.clock)
        snapshot.model.advance(snapshot.state, panel)
        return self

    def predict(self, horizon: int | None = None, *, future: Any = None) -> pl.DataFrame:
        """Forecast from the last row read: id, time, ``titans`` and the ends of the intervals.

        Parameters
        ----------
        horizon
            Rows to forecast; None takes those of the fit.
        future
            Frame of the covariates in the rows to be forecast, needed where one of them ships (`remarks_`).
        """
        check_is_fitted(self, "method_")
        snapshot = self._snapshot

        def read(covariates: tuple[str, ...]) -> Panel:
            clock, names = snapshot.model.clock, snapshot.names
            return future_frame(_frame(future), self._options(), clock=clock, names=names, covariates=covariates)

        coming = None
        if future is not None:
            coming = coming_of(snapshot.model, snapshot.state, read, names=snapshot.names, path=Path("future"))
        return forecast_frame(
            snapshot.model,
            snapshot.state,
            horizon=horizon or self.horizon,
            quantiles=quantiles_of(self.level, ()),
            names=snapshot.names,
            coming=coming,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model and state to one file, which `titans-seq observe` and `forecast --state` read too."""
        check_is_fitted(self, "method_")
        self._snapshot.save(Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Go on from a file of `save`, `titans-seq forecast --state` or `train-series`."""
        snapshot = Snapshot.load(Path(path))
        found = cls(horizon=snapshot.model.recipe.horizon)
        found._snapshot = snapshot
        found.method_, found.remarks_ = snapshot.model.method, []
        found.state_bytes_ = snapshot.state.nbytes
        return found

    def _options(self) -> TableOptions:
        targets = (self.target_col,) if self.target_col is not None else ()
        return TableOptions(
            id_col=self.id_col, time_col=self.time_col, target_cols=targets, freq=self.freq,
            covariates=tuple(self.covariates),
        )  # fmt: skip


def _frame(X: Any, *, first: int = 0) -> pl.DataFrame:
    """Take a polars frame as it is, a pandas frame by its columns, and give an array the index 0, 1, 2 ..."""
    if isinstance(X, pl.DataFrame):
        return X
    if hasattr(X, "columns") and hasattr(X, "to_dict"):
        index = {} if X.index.dtype == "int64" else {"ds": X.index.to_numpy()}
        return pl.DataFrame(index | {str(name): X[name].to_numpy() for name in X.columns})
    values = np.asarray(X)
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiu":
        raise DtypeError(f"expected a frame or an array (rows,) or (rows, series) of numbers, found {type(X).__name__}")
    values = values.reshape(len(values), -1).astype(np.float64)
    columns = {"y": values[:, 0]} if values.shape[1] == 1 else {f"y{i}": values[:, i] for i in range(values.shape[1])}
    return pl.DataFrame({"ds": np.arange(first, first + len(values)), **columns})
