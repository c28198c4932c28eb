"""VUS-PR against cases worked by hand, against a plain double loop, and against scikit-learn where they must agree."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from titans_seq.errors import RangeError, ShapeError
from titans_seq.metrics.vus import auprc, auroc, label_runs, soft_labels, vus_pr


def plain_range_precision(scores: np.ndarray, labels: np.ndarray, length: int) -> float:
    """The definition at the head of `titans_seq.metrics.vus`, threshold by threshold."""
    soft = labels.astype(float)
    for first, last in label_runs(labels):
        for t in range(len(labels)):
            distance = first - t if t < first else t - last
            if 1 <= distance <= length // 2:
                soft[t] += np.sqrt(1 - distance / length)
    soft = np.minimum(soft, 1)
    ranges = label_runs(soft > 0)
    positives = (labels.sum() + soft.sum()) / 2
    area = before = 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        pred = scores >= threshold
        found = np.mean([pred[first : last + 1].any() for first, last in ranges])
        recall = min(1.0, (soft * pred).sum() / positives) * found
        area += (recall - before) * (soft * pred).sum() / pred.sum()
        before = recall
    return area


def test_soft_labels_fall_off_by_the_square_root_and_stop_at_half_the_buffer() -> None:
    labels = np.array([False, False, False, True, True, False, False, False])
    found = soft_labels(labels, label_runs(labels), 4)
    half, quarter = np.sqrt(1 / 2), np.sqrt(3 / 4)
    np.testing.assert_allclose(found, [0, half, quarter, 1, 1, quarter, half, 0])


def test_a_case_worked_by_hand() -> None:
    # One anomaly at row 2, buffer 2: soft labels 0, .5^.5, 1, .5^.5; scores fall 3, 2, 1, 0 at rows 1, 2, 0, 3.
    labels = np.array([False, False, True, False])
    scores = np.array([1.0, 3.0, 2.0, 0.0])
    edge = np.sqrt(0.5)
    positives = (1 + 1 + 2 * edge) / 2
    recall = [edge / positives, min(1, (edge + 1) / positives), min(1, (edge + 1) / positives), 1.0]
    precision = [edge, (edge + 1) / 2, (edge + 1) / 3, (2 * edge + 1) / 4]
    at_two = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    # Buffers 0 and 1 leave the label hard: row 2 comes second, so precision 1/2 at recall 1.
    assert vus_pr(scores, labels, buffer=2) == pytest.approx((0.5 + 0.5 + at_two) / 3, rel=1e-12)


def test_two_ranges_and_one_found_halves_the_recall() -> None:
    labels = np.array([True, False, False, True])
    scores = np.array([3.0, 2.0, 1.0, 0.0])
    # Row 0 first: recall 1/2 by rows x 1/2 of the ranges = 1/4 at precision 1; the rest comes with row 3: 3/4 x 2/4.
    assert vus_pr(scores, labels, buffer=0) == pytest.approx(0.25 + 0.75 * 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_the_fast_form_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros(120, dtype=bool)
    for first in rng.choice(110, 3, replace=False):
        labels[first : first + int(rng.integers(1, 9))] = True
    scores = np.round(rng.normal(size=120) + labels, 1)  # rounded, so that there are ties
    expected = np.mean([plain_range_precision(scores, labels, length) for length in range(13)])
    assert vus_pr(scores, labels, buffer=12) == pytest.approx(expected, rel=1e-12)


def test_single_row_metrics_equal_scikit_learn(rng_labels: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = rng_labels
    assert auprc(scores, labels) == pytest.approx(average_precision_score(labels, scores), rel=1e-12)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)


@pytest.fixture
def rng_labels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    labels = rng.random(400) < 0.2
    return np.round(rng.normal(size=400) + 0.5 * labels, 1), labels


def test_only_the_order_of_scores_matters(rng_labels: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = rng_labels
    assert vus_pr(np.exp(scores), labels, buffer=9) == pytest.approx(vus_pr(scores, labels, buffer=9), rel=1e-12)


def test_perfect_scores_get_one_without_a_buffer_and_nothing_labelled_gets_nan() -> None:
    labels = np.array([False, True, True, False])
    assert vus_pr(labels.astype(float), labels, buffer=0) == 1.0
    assert np.isnan(vus_pr(np.zeros(4), np.zeros(4, dtype=bool)))


def test_a_nan_score_is_named_by_its_row() -> None:
    with pytest.raises(RangeError, match="NaN at row 2"):
        vus_pr(np.array([0.0, 1.0, np.nan]), np.array([True, False, False]))
    with pytest.raises(ShapeError, match="one length"):
        vus_pr(np.zeros(3), np.zeros(4, dtype=bool))
    with pytest.raises(RangeError, match="buffer"):
        vus_pr(np.zeros(3), np.zeros(3, dtype=bool), buffer=-1)
