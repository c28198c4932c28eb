"""The picture of detected anomalies: each series above its score, flagged intervals shaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_detect import Scored
from titans_seq.timeseries import Clock
from titans_seq.timeseries.conformal import flagged_intervals
from titans_seq.timeseries.score_table import stamp_column
from titans_seq.training.figures import COLOURS, one_figure

MOST: Final = 6
"""Series drawn; those with the smallest p-values come first."""
POINTS: Final = 4000
"""Stretches of rows that a line is drawn from, by their lowest and highest value."""


def draw_scores(path: Path, scored: Sequence[Scored], *, clock: Clock, join: int) -> Path:
    """Draw value and score of up to `MOST` series.

    Parameters
    ----------
    join
        Flagged rows at most this far apart are one interval.
    """
    rarest = sorted(scored, key=lambda one: float(np.nanmin(one.p_values, initial=1.0)))[:MOST]
    chosen = [one for one in scored if any(one is other for other in rarest)]
    with one_figure(path, size=(9.0, 2.6 * len(chosen) + 0.4), rows=2 * len(chosen)) as (_, axes):
        for one, above, below in zip(chosen, axes[::2], axes[1::2], strict=True):
            stamps = stamp_column(one.ticks, clock).dt.replace_time_zone(None) if _dated(clock) else one.ticks
            times = np.asarray(stamps)
            for line, values, colour in ((above, one.values, "line"), (below, one.scores, "carried")):
                at = _ends(values)
                line.plot(times[at], values[at], color=COLOURS[colour], linewidth=0.8)
                for part in flagged_intervals(one.flags, one.scores, join=join):
                    line.axvspan(times[part.first], times[part.last], color=COLOURS["reset"], alpha=0.3, linewidth=1.5)
            above.set(title=one.name, ylabel="value")
            below.set(ylabel="score")
    return path


def _dated(clock: Clock) -> bool:
    return clock.unit != "integer"


def _ends(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows with the lowest and highest value of each of `POINTS` stretches, in order; NaN rows are left out."""
    known = np.flatnonzero(~np.isnan(values))
    if known.size <= 2 * POINTS:
        return known
    parts = np.array_split(known, POINTS)
    ends = [(part[np.argmin(values[part])], part[np.argmax(values[part])]) for part in parts]
    return np.unique(np.array(ends).ravel())
