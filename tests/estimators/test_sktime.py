"""The forecaster behind sktime's interface, run by sktime itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from titans_seq.errors import ConfigError
from titans_seq.estimators import TitansForecaster
from titans_seq.estimators.sktime import sktime_forecaster

pd = pytest.importorskip("pandas")
ForecastingHorizon = pytest.importorskip("sktime.forecasting.base").ForecastingHorizon


def series(rows: int) -> Any:
    t = np.arange(rows)
    noise = np.random.default_rng(0).standard_normal(rows)
    return pd.Series(3 * np.sin(2 * np.pi * t / 24) + 0.2 * noise, index=pd.RangeIndex(rows), name="load")


def test_sktime_fits_predicts_and_updates_it() -> None:
    whole = series(460)
    forecaster = sktime_forecaster(horizon=24, max_lookback=48)
    forecaster.fit(whole[:400], fh=ForecastingHorizon([1, 2, 24], is_relative=True))
    predicted = forecaster.predict()
    own = TitansForecaster(24, max_lookback=48).fit(whole[:400].to_numpy())
    assert predicted.index.to_list() == [400, 401, 423]
    assert predicted.name == "load"
    assert np.allclose(predicted.to_numpy(), own.predict()["titans"].to_numpy()[[0, 1, 23]])
    forecaster.update(whole[400:436], update_params=True)
    later = forecaster.predict(fh=[1])
    assert later.index.to_list() == [436]
    assert np.allclose(later, own.observe(whole[400:436].to_numpy()).predict()["titans"][0])
    with pytest.raises(ConfigError, match="expected steps from 1 to horizon=24, found 25"):
        forecaster.predict(fh=[25])
    with pytest.raises(NotImplementedError, match="in-sample"):
        forecaster.predict(fh=[1, 0])
    assert abs(float(later.iloc[0]) - 3 * np.sin(2 * np.pi * 436 / 24)) < 1


def test_sktime_knows_its_parameters() -> None:
    clone = sktime_forecaster(horizon=7).clone()
    assert clone.get_params() == {"horizon": 7, "max_lookback": 512}
