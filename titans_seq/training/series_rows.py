"""Rows of a later table, read as the model's own table was."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from titans_seq.errors import ConfigError
from titans_seq.tasks.series_files import Snapshot
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.timeseries import Names, Panel, TableOptions
from titans_seq.timeseries.zones import parse_moment

_log = logging.getLogger(__name__)


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


def until_moment(panel: Panel, as_of: str | None) -> Panel:
    """Keep the rows up to a moment; all of them where it is None.

    Raises
    ------
    ConfigError
        Where every row is later.
    """
    if as_of is None:
        return panel
    kept = panel.until(parse_moment(as_of, panel.clock))
    if not kept.series:
        raise ConfigError(f"--as-of {as_of}: every row is later")
    _log.info("%s rows up to %s", f"{kept.rows:,}", as_of)
    return kept
