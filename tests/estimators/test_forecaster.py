"""`TitansForecaster`: frames and arrays in, tables out, new rows at their own cost."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

from titans_seq.errors import DtypeError, StateMismatchError
from titans_seq.estimators import TitansForecaster, forecaster


def table(rows: int, *, first: int = 0) -> pl.DataFrame:
    t = np.arange(first, first + rows)
    stamps = np.datetime64("2024-01-01T00", "us") + t * np.timedelta64(1, "h")
    noise = np.random.default_rng(0).standard_normal(2000)[t]
    return pl.DataFrame({"ds": stamps, "y": 4 * np.sin(2 * np.pi * t / 24) + 0.2 * noise})


def test_the_example() -> None:
    assert doctest.testmod(forecaster).failed == 0


def test_observe_equals_one_pass_however_cut(tmp_path: Path) -> None:
    fitted = TitansForecaster(12, max_lookback=48).fit(table(500))
    fitted.save(tmp_path / "s.state")
    other = TitansForecaster.load(tmp_path / "s.state")
    fitted.observe(table(100, first=500))
    for first, last in ((500, 501), (501, 560), (560, 600)):
        other.observe(table(last - first, first=first))
    mine, theirs = fitted.predict(), other.predict()
    assert (mine["ds"] == theirs["ds"]).all()
    assert np.allclose(mine.drop("unique_id", "ds").to_numpy(), theirs.drop("unique_id", "ds").to_numpy(), rtol=1e-8)
    with pytest.raises(StateMismatchError, match="out of order"):
        fitted.observe(table(10, first=400))


def test_arrays_and_pandas_give_the_same_numbers() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas, which utilsforecast brings")
    frame = table(400)
    by_frame = TitansForecaster(6, max_lookback=48).fit(frame).predict()
    indexed = pandas.DataFrame({"y": frame["y"].to_numpy()}, index=pandas.DatetimeIndex(frame["ds"].to_numpy()))
    by_pandas = TitansForecaster(6, max_lookback=48).fit(indexed).predict()
    assert (by_frame["titans"] == by_pandas["titans"]).all()
    by_array = TitansForecaster(6, max_lookback=48).fit(frame["y"].to_numpy())
    assert by_array.predict()["ds"].to_list() == [400, 401, 402, 403, 404, 405]
    assert np.abs(by_array.predict()["titans"].to_numpy() - by_frame["titans"].to_numpy()).max() < 0.5
    assert by_array.observe(np.ones(3)).predict()["ds"][0] == 403


def test_it_clones_and_refuses_what_is_no_table() -> None:
    assert clone(TitansForecaster(7, level=(80,))).get_params()["level"] == (80,)
    with pytest.raises(DtypeError, match="expected a frame or an array"):
        TitansForecaster().fit(np.array(["a", "b"]))
