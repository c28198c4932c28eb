"""Every causal score: nothing looks ahead, any cut gives the same, missing rows, a planted anomaly found."""

import itertools

import numpy as np
import pytest

from titans_seq.errors import RangeError, UnknownNameError
from titans_seq.timeseries.anomaly_scores import METHODS, AnomalyScore, ScoreSettings, build_score
from titans_seq.timeseries.lag_pca import BLOCK, WARM_WINDOWS, LagPca
from titans_seq.timeseries.standardise import CLIP, WARM, Standardiser
from titans_seq.timeseries.whitened import Whitened

SETTINGS = ScoreSettings(window=16, kept=2, order=4, smooth=8, span=400)
PLAIN = [name for name, parts in METHODS.items() if "surprise" not in parts]


def daily(rows: int = 700, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.sin(np.arange(rows) * 2 * np.pi / 24) + 0.1 * rng.normal(size=rows)


def fresh(method: str) -> AnomalyScore:
    return build_score(method, SETTINGS)


@pytest.mark.parametrize("method", PLAIN)
def test_any_cut_and_a_saved_state_give_the_same_numbers(method: str) -> None:
    values = daily()
    values[[100, 101, 350]] = np.nan
    whole = fresh(method).update(values)
    rng = np.random.default_rng(1)
    cuts = [0, 1, *np.sort(rng.choice(np.arange(2, values.size), 12, replace=False)).tolist(), values.size]
    score, parts = fresh(method), []
    for first, last in itertools.pairwise(cuts):
        parts.append(score.update(values[first:last]))
        saved = {name: array.copy() for name, array in score.arrays().items()}
        score = fresh(method)
        score.load(saved)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("method", PLAIN)
def test_a_later_row_changes_no_earlier_score(method: str) -> None:
    values = daily()
    changed = values.copy()
    changed[400:] += 5
    before, after = fresh(method).update(values), fresh(method).update(changed)
    np.testing.assert_array_equal(before[:400], after[:400])
    assert after[400] > before[400]


@pytest.mark.parametrize("method", PLAIN)
def test_the_state_does_not_grow(method: str) -> None:
    score = fresh(method)
    score.update(daily(300))
    size = sum(array.nbytes for array in score.arrays().values())
    score.update(daily(3000))
    assert sum(array.nbytes for array in score.arrays().values()) == size


@pytest.mark.parametrize("method", PLAIN)
def test_missing_rows_have_no_score_and_the_others_do(method: str) -> None:
    values = daily()
    values[300:320] = np.nan
    scores = fresh(method).update(values)
    np.testing.assert_array_equal(np.isnan(scores), np.isnan(values))


@pytest.mark.parametrize("method", ["pca+level", "pca", "whitened"])
def test_two_fast_cycles_stand_out_though_no_value_is_unusual(method: str) -> None:
    values = daily(2000)
    values[1500:1524] = np.sin(np.arange(24) * 2 * np.pi / 6)
    scores = fresh(method).update(values)
    assert 1500 <= int(np.argmax(scores[300:])) + 300 < 1550


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize("values", [np.full(200, 3.0), np.zeros(0), np.array([5.0]), np.full(50, np.nan)])
def test_constant_empty_and_missing_series_end_in_finite_scores(method: str, values: np.ndarray) -> None:
    scores = fresh(method).update(values)
    assert scores.shape == values.shape
    assert (scores[~np.isnan(values)] == 0).all()


@pytest.mark.parametrize("method", PLAIN)
def test_unit_and_offset_do_not_matter(method: str) -> None:
    plain, scaled = fresh(method).update(daily()), fresh(method).update(1000 * daily() - 7)
    np.testing.assert_allclose(scaled, plain, rtol=1e-6, atol=1e-8)


def test_standardised_rows_by_the_plain_definition() -> None:
    values = np.random.default_rng(0).normal(3, 2, 60)
    z = Standardiser(span=1000).update(values)
    expected = [(values[t] - values[:t].mean()) / values[:t].std() for t in range(WARM, 60)]
    np.testing.assert_allclose(z[WARM:], expected, rtol=1e-10)
    np.testing.assert_array_equal(z[:WARM], 0)


def test_the_first_row_that_leaves_a_constant_is_as_far_away_as_can_be() -> None:
    assert Standardiser(span=100).update(np.r_[np.ones(30), 1.5])[-1] == CLIP


def test_lag_pca_by_the_plain_definition() -> None:
    window, kept = 8, 2
    z = np.random.default_rng(0).normal(size=6 * BLOCK)
    found = LagPca(window=window, kept=kept, span=10_000).update(z)
    rows = np.concatenate([np.zeros(window - 1), z])
    lags = np.stack([rows[t : t + window] for t in range(z.size)])
    for t in (3 * BLOCK, 4 * BLOCK + 5):
        learned = lags[: t // BLOCK * BLOCK]
        _, vectors = np.linalg.eigh(learned.T @ learned)
        residual = vectors[:, :-kept].T @ lags[t]
        assert found[t] == pytest.approx(residual @ residual / window, rel=1e-9)
    assert (found[: -(-WARM_WINDOWS * window // BLOCK) * BLOCK] == 0).all()


def test_whitened_errors_by_ridge_regression() -> None:
    z = np.random.default_rng(0).normal(size=80)
    part = Whitened(order=2, span=10_000)
    part.update(z)
    rows = np.concatenate([np.zeros(2), z])
    h = np.stack([np.ones(80), rows[1:-1], rows[:-2]], axis=1)
    expected = np.linalg.solve(h.T @ h + np.eye(3), h.T @ z)
    np.testing.assert_allclose(part.arrays()["weights"], expected, rtol=1e-8)


def test_unknown_methods_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="pca"):
        build_score("pcaa", SETTINGS)
    with pytest.raises(UnknownNameError):
        build_score("surprise", SETTINGS)
    with pytest.raises(RangeError, match="kept"):
        LagPca(window=4, kept=4, span=100)
    with pytest.raises(RangeError, match="smooth"):
        ScoreSettings(smooth=0)
