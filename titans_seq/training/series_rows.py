"""Rows of a later table, read as the model's own table was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from titans_seq.tasks.series_files import Snapshot
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.timeseries import Names, Panel, TableOptions


def known_options(options: TableOptions, model: SeriesModel, names: Names) -> TableOptions:
    """Fill in what the model's table has settled: names of columns, zone of the stamps, covariates that it uses."""
    return replace(
        options,
        time_col=options.time_col or names.time,
        target_cols=options.target_cols or (model.channels if len(model.channels) > 1 else (names.target,)),
        id_col=options.id_col or (names.id if names.has_ids else None),
        time_zone=options.time_zone or model.clock.zone,
        covariates=tuple(covariate.name for covariate in model.recipe.inputs),
        max_rows=0,  # what goes on from a state has to read every row
    )


def newer_rows(panel: Panel, snapshot: Snapshot) -> Panel:
    """Keep the rows behind the newest one that the state has read."""
    newest = int(snapshot.state.tick.max())
    parts = [
        series.rows(int(np.searchsorted(series.ticks, newest, side="right")), len(series)) for series in panel.series
    ]
    return panel.replace([series for series in parts if len(series)])


def tick_before(snapshot: Snapshot, *, rows: int) -> int:
    """Give the stamp that lies ``rows`` rows before the newest one that the state has read."""
    state, clock = snapshot.state, snapshot.model.clock
    newest = int(state.tick.max())
    if clock.unit == "row":
        return newest - rows * clock.step
    return int(clock.ticks(np.array([state.clock_position - rows]))[0]) if rows else newest
