"""The rows of a panel that are new to a state: matched by track, in order, with the gap before them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from titans_seq.errors import RangeError, StateMismatchError, unknown_name
from titans_seq.tasks.series_recipe import Recipe, take_inputs
from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.timeseries import Clock, Panel, Series, stamp_text

_LONGEST_GAP = 1_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """New rows of one track.

    Attributes
    ----------
    track
        Index in the state.
    start
        Clock position of the first.
    values
        In the table's units, NaN where missing, (rows,).
    tick
        Stamp of the last.
    inputs
        Standardised covariates, (rows, inputs).
    """

    track: int
    start: int
    values: Array
    tick: int
    inputs: Array


def new_rows(
    clock: Clock, state: SeriesState, panel: Panel, recipe: Recipe, *, together: bool = True
) -> list[Line]:  # fmt: skip
    """Give what a panel adds to a state.

    Rows between the state's last one and the panel's first are missing values; a track's rows before its first known
    value are left out.

    Parameters
    ----------
    together
        Whether all series of one time have to come together, as they must where weights are solved again while reading.

    Raises
    ------
    StateMismatchError
        Rows at or before the newest row of the state, or of their own track where series may come apart.
    UnknownNameError
        A series that the state was not begun with, or a covariate that the panel lacks.
    """
    at = {name: i for i, name in enumerate(state.tracks)}
    lines = []
    for series in panel:
        given = take_inputs(recipe.inputs, panel.covariates, series.covariates)
        for channel, name in enumerate(panel.tracks_of(series)):
            if name not in at:
                raise unknown_name("series of this state", name, state.tracks)
            track = at[name]
            newest = state.clock_position if together else int(state.position[track])
            start = int(state.position[track]) + 1 if clock.unit == "row" else series.start
            _check_order(clock, state, series, track, start=start, newest=newest)
            values, inputs = series.values[:, channel], given
            if state.rows[track] == 0:
                known = np.flatnonzero(np.isfinite(values))
                if not len(known):
                    continue
                start, values, inputs = start + int(known[0]), values[known[0] :], given[known[0] :]
            else:
                gap = start - int(state.position[track]) - 1
                if gap > _LONGEST_GAP:
                    raise RangeError(f"the rows of {name!r} begin {gap:,} rows behind the last one; begin a new state")
                start, values = start - gap, np.concatenate([np.full(gap, np.nan), values])
                inputs = np.concatenate([np.zeros((gap, inputs.shape[1])), inputs])
            lines.append(Line(track, start, values, int(series.ticks[-1]), inputs))
    return lines


def _check_order(clock: Clock, state: SeriesState, series: Series, track: int, *, start: int, newest: int) -> None:
    if clock.unit == "row":
        late = state.rows[track] > 0 and int(series.ticks[0]) <= int(state.tick[track])
        last = int(state.tick[track])
    else:
        late = start <= newest
        last = int(clock.ticks(np.array([newest]))[0]) if newest >= 0 else 0
    if start < 0:
        raise StateMismatchError(
            f"rows out of order: {stamp_text(int(series.ticks[0]), clock)} lies before the first row of the model's "
            "table"
        )
    if late:
        raise StateMismatchError(
            f"rows out of order: the state has read up to {stamp_text(last, clock)}, and the new rows of "
            f"{state.tracks[track]!r} begin at {stamp_text(int(series.ticks[0]), clock)}; give only later rows, or undo"
        )
