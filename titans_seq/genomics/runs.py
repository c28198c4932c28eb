"""From log-odds per base to stretches: the best set of runs when each run costs something (a two-state Viterbi)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def best_runs(
    log_odds: npt.NDArray[np.floating], *, penalty: float, min_length: int = 1
) -> list[tuple[int, int, float]]:
    """Stretches that maximise the sum of log-odds inside, less `penalty` for each stretch.

    The best borders lie where the sign changes, so bases are first joined to blocks of one sign, and the two-state
    Viterbi runs over blocks.

    Parameters
    ----------
    log_odds
        Of "inside" against "outside", [T]; NaN counts as outside.
    min_length
        Shorter stretches are dropped at the end.

    Returns
    -------
    list
        Start, end (0-based half-open) and mean log-odds of each.

    Example: ``[-1, 3, -1, 3, -9, 2]`` with ``penalty=2.5`` is ``[(1, 4, 5/3)]``: the gap is cheaper than a second run,
    and the last base is not worth one.
    """
    values = np.nan_to_num(np.asarray(log_odds, dtype=np.float64), nan=-1e3)
    if not values.size:
        return []
    borders = np.flatnonzero(np.r_[True, np.diff(values > 0) != 0])
    sums = np.add.reduceat(values, borders).tolist()
    outside, inside = 0.0, -float("inf")
    behind: list[tuple[bool, bool]] = []  # for outside and inside at each block: was the block before inside?
    for block in sums:
        behind.append((inside > outside, inside >= outside - penalty))
        outside, inside = max(outside, inside), max(inside, outside - penalty) + block
    state = inside > outside
    states = np.zeros(len(sums), dtype=np.bool_)
    for number in range(len(sums) - 1, -1, -1):
        states[number] = state
        state = behind[number][int(state)]
    per_base = np.repeat(states, np.diff(np.r_[borders, values.size]))
    edges = np.flatnonzero(np.diff(np.r_[False, per_base, False].astype(np.int8)))
    runs = [(int(start), int(end)) for start, end in edges.reshape(-1, 2) if end - start >= min_length]
    return [(start, end, float(values[start:end].mean())) for start, end in runs]
