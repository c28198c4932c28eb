"""A table's series as an embedder takes them, and the file of a trained embedder."""

from __future__ import annotations

from pathlib import Path

from titans_seq.errors import ConfigError
from titans_seq.estimators.embedder import TitansEmbedder
from titans_seq.estimators.series import Series
from titans_seq.timeseries import Panel, Ticks


def open_embedder(path: Path) -> TitansEmbedder:
    """Read a saved embedder of series; runs of other commands are refused in words."""
    if path.is_dir():
        raise ConfigError(
            f"{path}: a run has no encoder of series (train-series makes ridges, train-dna reads bases); give a file "
            "of TitansEmbedder.save, make one by --train, or leave --model out"
        )
    embedder = TitansEmbedder.load(path)
    if embedder.domain_ != "series":
        raise ConfigError(f"{path}: this embedder reads sequences, but a table of series was given")
    return embedder


def series_of(panel: Panel, *, apart: bool) -> tuple[tuple[str, ...], tuple[Ticks, ...], tuple[Series, ...]]:
    """Names, stamps and values; ``apart`` makes a series of every column."""
    if not apart:
        found = [(one.id or panel.names.target, one.ticks, one.values) for one in panel]
    else:
        found = [
            (name, one.ticks, one.values[:, [column]])
            for one in panel
            for column, name in enumerate(panel.tracks_of(one))
        ]
    names, ticks, series = zip(*found, strict=True)
    return names, ticks, series
