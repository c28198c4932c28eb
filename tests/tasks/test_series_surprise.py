"""The memory's surprise as a score: causal, the same under any cut, a fixed state, larger where a habit breaks."""

import numpy as np

from titans_seq.tasks.series_surprise import WARM, MemorySurprise, build_anomaly_score
from titans_seq.timeseries.anomaly_scores import METHODS, ScoreSettings


def cycle(rows: int = 900) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.sin(np.arange(rows) * 2 * np.pi / 24) + 0.05 * rng.normal(size=rows)


def test_any_cut_and_a_saved_state_give_the_same_scores() -> None:
    z = cycle()
    z[[400, 401]] = np.nan
    whole = MemorySurprise(span=500).update(z)
    part, found = MemorySurprise(span=500), []
    for piece in np.split(z, [1, 17, 18, 300, 401, 640]):
        found.append(part.update(piece))
        saved = {name: array.copy() for name, array in part.arrays().items()}
        part = MemorySurprise(span=500)
        part.load(saved)
    np.testing.assert_allclose(np.concatenate(found), whole, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(z))


def test_no_later_row_changes_an_earlier_score() -> None:
    z = cycle()
    changed = z.copy()
    changed[600:] = 3
    before, after = MemorySurprise(span=500).update(z), MemorySurprise(span=500).update(changed)
    np.testing.assert_allclose(after[:600], before[:600], rtol=1e-4, atol=1e-5)


def test_a_learned_cycle_surprises_less_than_its_break() -> None:
    z = cycle(1500)
    z[1200:1224] = np.sin(np.arange(24) * 2 * np.pi / 5)
    scores = MemorySurprise(span=500).update(z)
    assert (scores[:WARM] == 0).all()
    assert scores[1200:1224].mean() > 3 * scores[WARM:1200].mean()


def test_the_state_has_a_fixed_size_and_reading_leaves_the_random_numbers_alone() -> None:
    import torch

    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    part = MemorySurprise(span=500)
    part.update(cycle(300))
    assert torch.equal(torch.randn(2), expected)
    size = sum(array.nbytes for array in part.arrays().values())
    part.update(cycle(2000))
    assert sum(array.nbytes for array in part.arrays().values()) == size


def test_every_method_can_be_built_and_scores() -> None:
    for method in METHODS:
        scores = build_anomaly_score(method, ScoreSettings(window=16, kept=2, span=400)).update(cycle(400))
        assert np.isfinite(scores).all(), method
