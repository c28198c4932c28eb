"""The ridge over carried state: definitions, cuts, no leaks, quantiles, undo."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import RangeError, StateMismatchError, UnknownNameError
from titans_seq.tasks.series_baselines import BASELINES, baseline_weights
from titans_seq.tasks.series_files import Snapshot, load_model, save_model
from titans_seq.tasks.series_moments import Window, design, moments
from titans_seq.tasks.series_recipe import Recipe, centre, centre_moments, centred_columns
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_sources import Source, extend
from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.timeseries import Clock, Panel, Series
from titans_seq.training.series_fit import Fitted, fit_series

HOUR = 3_600_000_000
TOLERANCE = 1e-9


def panel_of(values: Array, *, ids: Sequence[str] = ("a",), start: int = 0) -> Panel:
    """Hourly series, one per column."""
    clock = Clock("us", HOUR, 0)
    ticks = clock.ticks(np.arange(start, start + len(values)))
    series = [Series(name, start, ticks, values[:, [i]], np.empty((len(values), 0))) for i, name in enumerate(ids)]
    return Panel(tuple(series), clock, ("y",))


def load(rows: int, tracks: int = 1, *, seed: int = 0, missing: float = 0.0) -> Array:
    """Daily and weekly cycles, a slow level and noise."""
    random = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    phase = random.uniform(0, 6, tracks)
    values = 10 + 3 * np.sin(2 * np.pi * t / 24 + phase) + np.cos(2 * np.pi * t / 168) + np.cumsum(
        0.05 * random.standard_normal((rows, tracks)), axis=0
    ) + 0.3 * random.standard_normal((rows, tracks))  # fmt: skip
    holes = random.random((rows, tracks)) < missing
    holes[:2] = False
    return np.where(holes, np.nan, values)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    settings = SeriesSection(horizon=12, lookbacks=(24, 48), refit_every=64)
    return fit_series(panel_of(load(1500, 2), ids=("a", "b")), settings)


def rows_of(panel: Panel, first: int, last: int) -> Panel:
    return panel.replace([series.rows(first, last) for series in panel])


def close(first: SeriesState, second: SeriesState) -> None:
    for name, value in first.arrays().items():
        other = second.arrays()[name]
        size = max(1.0, float(np.abs(value).max(initial=0)))
        assert np.abs(value.astype(float) - other.astype(float)).max(initial=0) <= TOLERANCE * size, name


def test_moments_are_the_products_of_the_design() -> None:
    numbers = np.random.default_rng(0).standard_normal((3000, 3))
    windows = (
        Window("a", 0, -95, 96),
        Window("b", 1, -40, 24),
        Window("c", 2, 0, 1, centred=False),
        Window("t", 0, 1, 48),
    )
    z = design(numbers, np.arange(200, 2900), windows)
    assert np.abs(moments(numbers, 200, 2900, windows) - z.T @ z).max() < 1e-8


def test_centred_moments_are_the_moments_of_centred_columns() -> None:
    numbers = np.random.default_rng(1).standard_normal((400, 2)) + 3
    windows = (Window("a", 0, -7, 8), Window("b", 1, -3, 4), Window("c", 1, 0, 1, centred=False), Window("t", 0, 1, 5))
    z = design(numbers, np.arange(20, 380), windows)
    x, _ = centre(z, windows)
    assert np.allclose(centre_moments(z.T @ z, centred_columns(windows), 8), x.T @ x)


def test_sources_by_hand() -> None:
    sources = (Source("value", 2), Source("profile", 2, 0.25), Source("level", 1, 0.5))
    values = np.array([[1.0, 2.0, 3.0, np.nan, 5.0]])
    past = np.ones((1, 4, 3))
    numbers, known = extend(sources, past, np.zeros(1, np.int64), values)
    assert known.tolist() == [[True, True, True, False, True]]
    # Row 3 is missing: the value before it plus the step of two rows ago, 3 + (2 - 1).
    assert numbers[0, :, 0].tolist() == [1, 2, 3, 4, 5]
    # Phase 0 sees 1, 3, 5 (shares 1, 1/2, 1/3); phase 1 sees 2 and nothing.
    assert np.allclose(numbers[0, :, 1], [1, 2, 2, 2, 3])
    # Shares 1, 1/2, 1/2, none, 1/2.
    assert np.allclose(numbers[0, :, 2], [1, 1.5, 2.25, 2.25, 3.625])


@settings(max_examples=30)
@given(cuts=st.sets(st.integers(1, 299), max_size=6), missing=st.sampled_from([0.0, 0.1]))
def test_any_cut_gives_the_state_and_forecast_of_one_pass(fitted: Fitted, cuts: set[int], missing: float) -> None:
    panel = panel_of(load(300, 2, seed=3, missing=missing), ids=("a", "b"), start=1500)
    whole = fitted.model.advance(fitted.state.clone(), panel)
    pieces = fitted.state.clone()
    edges = [0, *sorted(cuts), 300]
    for first, last in itertools.pairwise(edges):
        fitted.model.advance(pieces, rows_of(panel, first, last))
    close(whole, pieces)
    path, other = fitted.model.path(whole), fitted.model.path(pieces)
    assert np.abs(path - other).max() < 1e-8
    assert np.allclose(
        fitted.model.quantile(whole, path, 0.95), fitted.model.quantile(pieces, other, 0.95), rtol=1e-8, atol=0
    )


def test_a_gap_between_two_tables_equals_missing_rows(fitted: Fitted) -> None:
    values = load(120, 2, seed=4)
    values[50:60] = np.nan
    panel = panel_of(values, ids=("a", "b"), start=1500)
    whole = fitted.model.advance(fitted.state.clone(), panel)
    pieces = fitted.model.advance(fitted.state.clone(), rows_of(panel, 0, 50))
    fitted.model.advance(pieces, rows_of(panel, 60, 120))
    close(whole, pieces)


def test_weights_are_refitted_and_only_by_rows_already_realised(fitted: Fitted) -> None:
    """A row changes nothing that was forecast before it; the weights do move with time."""
    panel = panel_of(load(300, 2, seed=5), ids=("a", "b"), start=1500)
    model = fitted.model
    seen: list[Array] = []
    state = fitted.state.clone()
    model.advance(state, panel, realised=lambda tracks, rows, errors, scales: seen.append(scales[0].copy()))
    assert np.abs(state.weights - fitted.state.weights).max() > 1e-6
    changed = panel.series[0].values.copy()
    changed[200:] += 50
    other = panel.replace([Series("a", 1500, panel.series[0].ticks, changed, np.empty((300, 0))), panel.series[1]])
    again: list[Array] = []
    model.advance(fitted.state.clone(), other, realised=lambda t, rows, errors, scales: again.append(scales[0].copy()))
    before, after = np.concatenate(seen), np.concatenate(again)
    assert (before[:200] == after[:200]).all()
    # A forecast is scored when all its rows are known, and by then the change shows.
    assert (before[200:] != after[200:]).all()


def test_the_forecast_does_not_look_ahead(fitted: Fitted) -> None:
    panel = panel_of(load(100, 2, seed=6), ids=("a", "b"), start=1500)
    state = fitted.model.advance(fitted.state.clone(), rows_of(panel, 0, 60))
    path = fitted.model.path(state)
    interval = fitted.model.quantile(state, path, 0.9)
    fork = state.clone()
    fitted.model.advance(state, rows_of(panel, 60, 100))
    assert (fitted.model.path(fork) == path).all()
    assert (fitted.model.quantile(fork, path, 0.9) == interval).all()


def test_quantiles_never_cross(fitted: Fitted) -> None:
    path = fitted.model.path(fitted.state)
    levels = np.linspace(0.005, 0.995, 100)
    quantiles = np.array([fitted.model.quantile(fitted.state, path, float(level)) for level in levels])
    assert (np.diff(quantiles, axis=0) >= 0).all()
    with pytest.raises(RangeError, match=r"between 0\.005 and 0\.995"):
        fitted.model.quantile(fitted.state, path, 0.999)


def test_intervals_widen_as_soon_as_a_few_rows_show_it_and_not_before(fitted: Fitted) -> None:
    rows = load(40, 2, seed=11)
    rows[20:] += np.where(np.arange(20)[:, None] % 2, 8, -8)
    model, slow = fitted.model, replace(fitted.model, fresh=0.0)
    panel = panel_of(rows, ids=("a", "b"), start=1500)
    widths = {}
    for name, kind in (("fresh", model), ("slow", slow)):
        state, found = fitted.state.clone(), []
        for row in range(26):
            kind.advance(state, rows_of(panel, row, row + 1))
            path = kind.path(state)
            found.append((kind.quantile(state, path, 0.95) - path)[0, 0])
        widths[name] = np.array(found)
    assert model.soon == 1
    assert (np.diff(widths["fresh"])[19:] > 0).all()  # each row behind the break tells of it
    assert widths["fresh"][25] / widths["fresh"][19] > 1.1 * widths["slow"][25] / widths["slow"][19]


def test_a_series_of_one_number_is_as_unsure_as_the_others() -> None:
    """Nothing of it has been forecast yet, so an interval of no width would be a claim without ground."""
    values = load(600, 2, seed=12)
    values[:-1, 1] = np.nan
    found = fit_series(panel_of(values, ids=("a", "b")), SeriesSection(horizon=6, lookbacks=(24, 48)))
    path = found.model.path(found.state)
    widths = found.model.quantile(found.state, path, 0.95) - found.model.quantile(found.state, path, 0.05)
    assert np.allclose(path[1], values[-1, 1])
    assert np.allclose(widths[1], widths[0], rtol=0.5)
    assert (widths > 0).all()
    alone = panel_of(np.array([[4.0]]), ids=("new",), start=700)
    state = found.model.advance(found.model.begin(alone), alone)
    assert np.isnan(found.model.quantile(state, found.model.path(state), 0.95)).all()


def test_the_state_does_not_grow(fitted: Fitted) -> None:
    state = fitted.state.clone()
    before = state.nbytes
    fitted.model.advance(state, panel_of(load(2000, 2, seed=7), ids=("a", "b"), start=1500))
    assert state.nbytes == before


def test_rows_out_of_order_and_strangers_are_refused(fitted: Fitted) -> None:
    with pytest.raises(StateMismatchError, match="rows out of order: the state has read up to 1970-03-04 11:00:00"):
        fitted.model.advance(fitted.state.clone(), panel_of(load(10, 2), ids=("a", "b"), start=1495))
    with pytest.raises(UnknownNameError, match="'c'"):
        fitted.model.advance(fitted.state.clone(), panel_of(load(10), ids=("c",), start=1500))


def test_a_snapshot_goes_on_like_the_state(fitted: Fitted, tmp_path: Path) -> None:
    panel = panel_of(load(200, 2, seed=8), ids=("a", "b"), start=1500)
    whole = fitted.model.advance(fitted.state.clone(), panel)
    path = tmp_path / "s.state"
    half = fitted.model.advance(fitted.state.clone(), rows_of(panel, 0, 90))
    Snapshot(fitted.model, half, panel.names).save(path)
    again = Snapshot.load(path)
    assert again.model.fingerprint == fitted.model.fingerprint
    again.model.advance(again.state, rows_of(panel, 90, 200))
    close(whole, again.state)


def test_a_state_of_another_model_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    other = fit_series(panel_of(load(900, 2, seed=9), ids=("a", "b")), SeriesSection(horizon=12, lookbacks=(24,)))
    Snapshot(fitted.model, fitted.state, panel_of(load(3)).names).save(tmp_path / "s.state")
    with pytest.raises(StateMismatchError, match=f"{fitted.model.fingerprint}.*{other.model.fingerprint}"):
        Snapshot.load(tmp_path / "s.state", model=other.model)


def test_a_model_reads_the_same_from_disk(fitted: Fitted, tmp_path: Path) -> None:
    names = panel_of(load(3)).names
    save_model(tmp_path / "model.safetensors", fitted.model, names=names)
    model, _ = load_model(tmp_path)
    panel = panel_of(load(400, 2, seed=10), ids=("a", "b"), start=1500)
    assert (model.path(model.advance(model.begin(panel), panel)) == path_of(fitted.model, panel)).all()


def path_of(model: SeriesModel, panel: Panel) -> Array:
    return model.path(model.advance(model.begin(panel), panel))


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_baselines_are_what_they_are_called(name: str) -> None:
    values = np.array([5.0, 1.0, 2.0, 3.0, 7.0, 9.0])
    recipe = Recipe(5, 6, (2, 3))
    expected = {
        "last value": [9, 9, 9, 9, 9],
        "seasonal naive": [7, 9, 7, 9, 7],
        "long seasonal naive": [3, 7, 9, 3, 7],
        "drift": [9.8, 10.6, 11.4, 12.2, 13.0],
    }
    weights = baseline_weights(name, recipe)
    mean = values.mean()
    assert np.allclose((values - mean) @ weights + mean, expected[name])


def test_a_new_series_and_one_row_are_forecast(fitted: Fitted) -> None:
    panel = panel_of(np.array([[4.0]]), ids=("new",), start=1600)
    assert np.isfinite(path_of(fitted.model, panel)).all()
