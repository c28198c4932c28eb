"""p-values by hand, valid on exchangeable scores; flags at the rate asked for on quiet series, smoothed ones too."""

import numpy as np
import pytest

from titans_seq.errors import RangeError
from titans_seq.timeseries.anomaly_scores import ScoreSettings, build_score
from titans_seq.timeseries.conformal import (
    ADAPTIVE_RATE,
    ConformalP,
    ConformalSettings,
    Interval,
    flagged_intervals,
)


def run(settings: ConformalSettings, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ConformalP(settings).update(scores)


def test_p_values_by_hand() -> None:
    settings = ConformalSettings(alpha=0.5, calibration=3, guard=0, adaptive=False)
    p, flags = run(settings, np.array([1.0, 3.0, 2.0, 2.0, 9.0, np.nan, 0.0]))
    # Compared with {}, {1}, {1,3}, {1,3,2}, {3,2,2}, nothing, {2,2,9}.
    np.testing.assert_allclose(p, [1, 1 / 2, 2 / 3, 3 / 4, 1 / 4, np.nan, 1])
    np.testing.assert_array_equal(flags, [False, True, False, False, True, False, False])


def test_guard_and_skip_by_hand() -> None:
    settings = ConformalSettings(alpha=0.5, calibration=2, guard=1, skip=1, adaptive=False)
    p, _ = run(settings, np.array([7.0, 1.0, 2.0, 3.0, 0.0, 9.0]))
    # Row 0 is skipped; then compared with {}, {}, {1}, {1,2}, {2,3}.
    np.testing.assert_allclose(p, [np.nan, 1, 1, 1 / 2, 1, 1 / 3])


def test_the_ring_equals_a_plain_window() -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=500), 1)
    p, _ = run(ConformalSettings(alpha=0.1, calibration=50, guard=7), scores)
    for t in (30, 57, 58, 200, 499):
        past = scores[max(0, t - 57) : max(0, t - 7)]
        assert p[t] == pytest.approx((1 + (past >= scores[t]).sum()) / (past.size + 1))


@pytest.mark.parametrize("ties", ["conservative", "randomised"])
def test_any_cut_and_a_saved_state_give_the_same(ties: str) -> None:
    scores = np.round(np.random.default_rng(0).normal(size=400), 1)
    scores[50:60] = np.nan
    settings = ConformalSettings(alpha=0.05, calibration=60, guard=5, skip=10, ties=ties)  # type: ignore[arg-type]
    whole = run(settings, scores)
    one, parts = ConformalP(settings), []
    for part in np.split(scores, [1, 8, 30, 31, 120, 333]):
        parts.append(one.update(part))
        saved = {name: array.copy() for name, array in one.arrays().items()}
        one = ConformalP(settings)
        one.load(saved)
    np.testing.assert_array_equal(np.concatenate([p for p, _ in parts]), whole[0])
    np.testing.assert_array_equal(np.concatenate([flags for _, flags in parts]), whole[1])


@pytest.mark.parametrize("ties", ["conservative", "randomised"])
def test_p_values_of_exchangeable_scores_are_valid(ties: str) -> None:
    scores = np.random.default_rng(3).normal(size=20_000)
    settings = ConformalSettings(alpha=0.01, calibration=2_000, ties=ties, adaptive=False)  # type: ignore[arg-type]
    p, _ = run(settings, scores)
    judged = p[settings.first_alarm :]
    for level in (0.01, 0.05, 0.2, 0.5):
        # Four standard errors of a share of independent rows, and the share p values quantised by 1 / (n + 1).
        slack = 4 * np.sqrt(level * (1 - level) / judged.size) + 1 / 2_000
        assert abs((judged <= level).mean() - level) < slack


def test_randomised_ties_are_uniform_where_conservative_ones_never_flag() -> None:
    # A score of two values only: the higher in 30 % of rows, as on a series that rests most of the time.
    scores = (np.random.default_rng(5).random(20_000) < 0.3).astype(float)
    careful, _ = run(ConformalSettings(alpha=0.05, calibration=1_000, adaptive=False), scores)
    random, _ = run(ConformalSettings(alpha=0.05, calibration=1_000, ties="randomised", adaptive=False), scores)
    assert (careful[2_000:] <= 0.05).mean() == 0
    assert (random[2_000:] <= 0.05).mean() == pytest.approx(0.05, abs=0.008)


def quiet(kind: str, rows: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=rows)
    if kind == "independent":
        return noise
    values = np.empty(rows)
    level = 0.0
    for t, shock in enumerate(noise.tolist()):
        level = 0.95 * level + shock
        values[t] = level
    return values


@pytest.mark.parametrize("kind", ["independent", "autocorrelated"])
@pytest.mark.parametrize("alpha", [0.01, 0.002])
def test_the_share_of_flags_on_quiet_series_is_what_was_asked_for(kind: str, alpha: float) -> None:
    scores = build_score("pca+level", ScoreSettings(window=16, kept=2)).update(quiet(kind, 40_000, seed=2))
    settings = ConformalSettings(alpha=alpha, calibration=4_000, skip=100)
    _, flags = run(settings, scores)
    judged = flags[settings.first_alarm :]
    assert judged.mean() == pytest.approx(alpha, rel=0.25)


@pytest.mark.parametrize("scores", ["rising", "steps"])
def test_the_promised_bound_on_flags_holds_on_any_series(scores: str) -> None:
    rows = 20_000
    given = np.arange(rows, dtype=float) if scores == "rising" else np.repeat(np.arange(20.0), 1000)
    settings = ConformalSettings(alpha=0.01, calibration=1_000)
    _, flags = run(settings, given)
    assert flags.sum() <= settings.alpha * rows + 1 / ADAPTIVE_RATE + 1
    _, fixed = run(ConformalSettings(alpha=0.01, calibration=1_000, adaptive=False), given)
    if scores == "rising":  # a fixed level flags every row of it
        assert fixed[settings.first_alarm :].all()


def test_intervals_join_flags_that_are_near() -> None:
    flags = np.array([0, 1, 0, 1, 0, 0, 0, 1], dtype=bool)
    found = flagged_intervals(flags, np.arange(8.0), join=2)
    assert found == [Interval(first=1, last=3, flagged=2, peak=3), Interval(first=7, last=7, flagged=1, peak=7)]
    assert flagged_intervals(np.zeros(3, dtype=bool), np.zeros(3), join=2) == []


def test_levels_that_cannot_be_reached_are_refused() -> None:
    with pytest.raises(RangeError, match="needs at least 1000 calibration rows"):
        ConformalSettings(alpha=0.001, calibration=500)
    with pytest.raises(RangeError, match="between 0 and 1"):
        ConformalSettings(alpha=0)
