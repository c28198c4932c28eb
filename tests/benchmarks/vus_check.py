"""Our VUS-PR beside the authors' package and aeon's, on random scores.

    python -m venv venv-vus && venv-vus/bin/pip install vus==0.0.6 aeon
    PYTHONPATH=. venv-vus/bin/python -m tests.benchmarks.vus_check

`definition` puts the package's soft labels, recall and precision (`extend_postive_range`, `TPR_FPR_RangeAUC`) together
at every score, as steps: it has to equal ours. `trapezoid` is the mean of its `RangeAUC` (250 thresholds, trapezoids,
the first from precision 1), `fast` its `RangeAUC_volume_opt`, the one TSB-AD ranks by (250 thresholds, steps; a buffer
row is counted among the positives only where it is predicted). Buffer 0 divides by 0 there and is left out of the two.
"""

from __future__ import annotations

import numpy as np
from aeon.benchmarking.metrics.anomaly_detection import range_pr_vus_score  # type: ignore[import-not-found]
from vus.utils.metrics import metricor  # type: ignore[import-not-found]

from titans_seq.metrics.vus import vus_pr

REFERENCE = metricor()


def main() -> None:
    rng = np.random.default_rng(0)
    print("| rows | buffer | ours | definition | trapezoid | aeon | fast |")
    print("|---|---|---|---|---|---|---|")
    gaps = []
    for rows, buffer in ((250, 10), (250, 40), (1000, 40)):
        labels = np.zeros(rows, dtype=bool)
        labels[rows // 3 : rows // 3 + rows // 20] = True
        labels[2 * rows // 3 : 2 * rows // 3 + 5] = True
        scores = rng.normal(size=rows) + labels
        ours = vus_pr(scores, labels, buffer=buffer)
        above_zero = (ours * (buffer + 1) - vus_pr(scores, labels, buffer=0)) / buffer
        lengths = range(1, buffer + 1)
        definition = np.mean([by_definition(scores, labels, length) for length in lengths])
        trapezoid = np.mean(
            [REFERENCE.RangeAUC(labels.astype(float), scores, window=n, plot_ROC=True)[1] for n in lengths]
        )
        aeon = range_pr_vus_score(labels.astype(int), scores, max_buffer_size=buffer)
        fast = REFERENCE.RangeAUC_volume_opt(labels.astype(float), scores, buffer, 250)[-1]
        gaps.append(abs(above_zero - definition))
        print(
            f"| {rows} | {buffer} | {ours:.4f} | {definition:.4f} | {trapezoid:.4f} | {aeon:.4f} | {fast:.4f} |",
            flush=True,
        )
    print(f"largest difference to `definition` over buffers from 1: {max(gaps):.1e}")


def by_definition(scores: np.ndarray, labels: np.ndarray, length: int) -> float:
    """AP over a buffer from the package's own parts, at every score."""
    soft = REFERENCE.extend_postive_range(labels.astype(float), window=length)
    ranges = REFERENCE.range_convers_new(soft)
    points = [REFERENCE.TPR_FPR_RangeAUC(soft, scores >= t, labels.sum(), ranges) for t in np.sort(scores)[::-1]]
    recall, _, precision = np.array(points).T
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


if __name__ == "__main__":
    main()
