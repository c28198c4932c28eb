"""What a detector found, as tables of rows and of flagged intervals, and as a few lines to read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from titans_seq.tasks.series_detect import Scored
from titans_seq.timeseries import Panel
from titans_seq.timeseries.conformal import flagged_intervals
from titans_seq.timeseries.score_table import score_rows, stamp_column


def row_table(scored: Sequence[Scored], panel: Panel) -> pl.DataFrame:
    """One row per series and stamp: id, time, value, score, p_value, flag; empty cells where there is no number."""
    names = panel.names
    frames = []
    for one in scored:
        columns = {names.target: one.values, "score": one.scores, "p_value": one.p_values, "flag": one.flags}
        frame = score_rows(columns, one.ticks, panel.clock, time_name=names.time)
        frames.append(frame.insert_column(0, pl.Series(names.id, [one.name]).new_from_index(0, one.ticks.size)))
    return pl.concat(frames)


def interval_table(scored: Sequence[Scored], panel: Panel, *, join: int) -> pl.DataFrame:
    """One row per interval: id, first and last stamp, that of the highest score, flagged rows, score and p-value there.

    Parameters
    ----------
    join
        Flagged rows at most this far apart are one interval.
    """
    frames = []
    for one in scored:
        found = flagged_intervals(one.flags, one.scores, join=join)
        at = {key: np.array([getattr(part, key) for part in found], np.int64) for key in ("first", "last", "peak")}
        frames.append(
            pl.DataFrame([
                pl.Series(panel.names.id, [one.name] * len(found), dtype=pl.String),
                stamp_column(one.ticks[at["first"]], panel.clock).alias("start"),
                stamp_column(one.ticks[at["last"]], panel.clock).alias("end"),
                stamp_column(one.ticks[at["peak"]], panel.clock).alias("peak"),
                pl.Series("rows_flagged", [part.flagged for part in found], dtype=pl.Int64),
                pl.Series("score", one.scores[at["peak"]]),
                pl.Series("p_value", one.p_values[at["peak"]]),
            ])
        )  # fmt: skip
    return pl.concat(frames)


def summary(scored: Sequence[Scored], intervals: pl.DataFrame, *, alpha: float) -> str:
    """The intervals, rarest first, and the share of rows flagged beside the share asked for."""
    judged = sum(int((~np.isnan(one.p_values)).sum()) for one in scored)
    flagged = sum(int(one.flags.sum()) for one in scored)
    share = f"{flagged / judged:.3%}" if judged else "none"
    head = f"{flagged:,} of {judged:,} judged rows flagged: {share}, alpha {alpha:.3%}; {len(intervals)} intervals"
    if intervals.is_empty():
        return head
    with pl.Config(tbl_rows=20, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_width_chars=120):
        return f"{head}\n{intervals.sort('p_value').head(20)}"
