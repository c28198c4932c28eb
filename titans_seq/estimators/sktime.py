"""`sktime_forecaster`: `TitansForecaster` behind sktime's interface."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from titans_seq.errors import ConfigError
from titans_seq.estimators.forecaster import TitansForecaster


def sktime_forecaster(**parameters: Any) -> Any:
    """Give a sktime forecaster of one series; ``horizon`` and ``max_lookback`` are those of `TitansForecaster`.

    Rows are counted: the index names them and is not read. ``update`` takes rows into the carried state without a new
    fit, whatever ``update_params`` says. sktime is imported here alone.

    Raises
    ------
    ImportError
        Without sktime 1.2 or newer.
    ConfigError
        From ``predict``, for rows beyond the next ``horizon``; sktime refuses those of the past.
    """
    base = import_module("sktime.forecasting.base").BaseForecaster
    series = import_module("pandas").Series

    class TitansSktime(base):  # type: ignore[misc,valid-type]
        """`TitansForecaster` as sktime calls it."""

        _tags = {  # noqa: RUF012
            "y_inner_mtype": "pd.Series",
            "requires-fh-in-fit": False,
            "capability:exogenous": False,
            "capability:insample": False,
            "capability:update": True,
        }
        _config = {"remember_data": False}  # noqa: RUF012

        def __init__(self, horizon: int = 96, max_lookback: int = 512) -> None:
            self.horizon = horizon
            self.max_lookback = max_lookback
            super().__init__()

        def _fit(self, y: Any, X: Any = None, fh: Any = None) -> Any:
            self._inner = TitansForecaster(self.horizon, max_lookback=self.max_lookback).fit(y.to_numpy())
            self._name = y.name
            return self

        def _update(self, y: Any, X: Any = None, update_params: bool = True) -> Any:
            self._inner.observe(y.to_numpy())
            return self

        def _predict(self, fh: Any, X: Any = None) -> Any:
            steps = fh.to_relative(self.cutoff).to_numpy().astype(int)
            if steps.max() > self.horizon:
                raise ConfigError(f"fh: expected steps from 1 to horizon={self.horizon}, found {steps.max()}")
            path = self._inner.predict()["titans"].to_numpy()
            return series(path[steps - 1], index=fh.to_absolute_index(self.cutoff), name=self._name)

    return TitansSktime(**parameters)
