"""Tokens of the residual encoder know nothing that is not realised; streams; the sums an evaluation is made of."""

import numpy as np
import pytest
import torch

from titans_seq.models import Encoder
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_residual import SeriesResidual
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_tracks import lay_out
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.residual_evaluate import judge
from titans_seq.training.residual_streams import ResidualRows, ResidualStreams, residual_rows

PATCH, HORIZON, LOOKBACK = 4, 8, 6


def model() -> SeriesModel:
    recipe = Recipe(HORIZON, LOOKBACK)
    weights = np.random.default_rng(1).normal(size=(LOOKBACK, HORIZON)) / LOOKBACK
    none = np.zeros((0, 0))
    return SeriesModel(
        recipe=recipe, clock=Clock("us", 3_600_000_000, 0), channels=("y",), tracks=("y",), mean=np.zeros(1),
        deviation=np.ones(1), weights=weights, levels=np.array([0.5]), quantiles=np.zeros((1, HORIZON)),
        method="ridge", every=0, gram=none, cross=none, learned=0,
    )  # fmt: skip


def lay(values: np.ndarray) -> ResidualRows:
    ticks = 3_600_000_000 * np.arange(values.size)
    series = Series("y", 0, ticks, values[:, None], np.empty((values.size, 0)))
    panel = Panel((series,), model().clock, ("y",))
    tracks = lay_out(panel, model().recipe, mean=np.zeros(1), deviation=np.ones(1))
    (rows,) = residual_rows(model(), panel, tracks, patch=PATCH)
    return rows


def test_residuals_by_the_plain_definition() -> None:
    values = np.random.default_rng(0).normal(size=60)
    rows = lay(values)
    origin = 20
    lookback = values[origin - LOOKBACK + 1 : origin + 1]
    path = (lookback - lookback.mean()) @ model().weights + lookback.mean()
    np.testing.assert_allclose(
        rows.residuals[origin], values[origin + 1 : origin + 1 + HORIZON] - path, rtol=1e-4, atol=1e-5
    )
    assert np.isnan(rows.residuals[-HORIZON:]).all()  # of paths that have not ended
    assert np.isfinite(rows.residuals[:-HORIZON]).all()


@pytest.mark.parametrize("row", [25, 40])
def test_a_token_and_its_scale_know_no_later_row(row: int) -> None:
    values = np.random.default_rng(0).normal(size=60)
    changed = values.copy()
    changed[row + 1 :] += 7
    before, after = lay(values), lay(changed)
    last = row + 1
    np.testing.assert_array_equal(after.features[:last], before.features[:last])
    np.testing.assert_array_equal(after.scale[:last], before.scale[:last])
    assert not np.array_equal(after.features[last], before.features[last])


def test_streams_read_every_place_in_order_and_go_on_from_a_cursor() -> None:
    rows = lay(np.random.default_rng(0).normal(size=120))
    streams = ResidualStreams([rows], [96], patch=PATCH, length=8, batch=PATCH, seed=0)
    assert streams.segments == 3
    first, second = next(streams), next(streams)
    assert first.reset.all()
    assert not second.reset.any()
    found = sorted(first.features[:, 0].tolist())
    assert found == sorted(rows.features[:PATCH].tolist())
    other = ResidualStreams([rows], [96], patch=PATCH, length=8, batch=PATCH, seed=0)
    other.load_state_dict(streams.state_dict())
    np.testing.assert_array_equal(next(other).features, next(streams).features)
    assert streams.epoch == 1


def test_judging_by_the_plain_definition_and_the_gate() -> None:
    torch.manual_seed(0)
    rows = lay(np.random.default_rng(0).normal(size=150))
    encoder = Encoder(variant="mag", memory="gated_deltanet", d_model=16, n_layers=1, n_heads=2, window=4, chunk_size=4)
    task = SeriesResidual(encoder=encoder, features=rows.features.shape[1], horizon=HORIZON)
    first, last = 60, len(rows) - HORIZON
    untouched = judge(task, rows, first, last, patch=PATCH, length=8)
    assert untouched.gate() == 0
    assert untouched.mse(0) == pytest.approx(float((rows.residuals[first:last] ** 2).mean()), rel=1e-5)
    torch.nn.init.normal_(task.head.weight, std=0.1)
    found = judge(task, rows, first, last, patch=PATCH, length=8)
    longer = judge(task, rows, first, last, patch=PATCH, length=16)
    assert found.mse(0.5) == pytest.approx(longer.mse(0.5), rel=1e-5)
    origin = 77
    features = torch.from_numpy(rows.features[origin % PATCH : origin + 1 : PATCH])[None]
    with torch.no_grad():
        correction = task(features)[0][0, -1].numpy() * rows.scale[origin]
    expected = ((rows.residuals[origin] - 0.3 * correction) ** 2).sum()
    at = origin - first
    own = found.base[at] - 2 * 0.3 * found.cross[at] + 0.09 * found.square[at]
    assert own == pytest.approx(float(expected), rel=1e-4)
    assert 0 <= found.gate() <= 1
    assert found.mse(found.gate()) <= found.mse(0) + 1e-12
    assert judge(task, rows, first, last, patch=PATCH, arm="off", length=8).mse(1) != found.mse(1)
    assert judge(task, rows, first, last, patch=PATCH, arm="reset", every=8).mse(1) != found.mse(1)
