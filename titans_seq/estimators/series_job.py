"""A table of series as a job: what is read, with what and where to, and which series were finished before a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from titans_seq.errors import ConfigError, unknown_name
from titans_seq.estimators.embedder import TitansEmbedder
from titans_seq.estimators.panel_series import open_embedder, series_of
from titans_seq.estimators.saving import fingerprint
from titans_seq.estimators.series import Series, patches
from titans_seq.estimators.series_reading import Floats
from titans_seq.files import check_out
from titans_seq.ops.native.room import keep_freed_memory
from titans_seq.streaming.device import choose_device
from titans_seq.streaming.work_folder import WorkFolder
from titans_seq.timeseries import Panel, TableOptions, Ticks, read_table


@dataclass(frozen=True)
class SeriesJob:
    """What is read, with what, and where to; made by `open_job`. Series are (T, C), NaN where a value is missing."""

    panel: Panel
    names: tuple[str, ...]
    ticks: tuple[Ticks, ...]
    series: tuple[Series, ...]
    embedder: TitansEmbedder
    out: Path

    @property
    def rows(self) -> int:
        """Rows of all series."""
        return sum(map(len, self.series))

    def tokens(self, numbers: Collection[int]) -> list[Floats]:
        """Some of the series, by number, as the encoder reads them."""
        embedder = self.embedder
        return [patches(embedder.scale_.apply(self.series[number]), embedder.patch) for number in numbers]

    def work(self, *, what: dict[str, Any], regions: int, width: int) -> WorkFolder:
        """Where finished series are kept until all are: numbers of ``width`` for each of ``regions``, in order.

        ``what`` is all that they follow from, besides the table and the model.
        """
        table = hashlib.sha256(json.dumps([self.names, asdict(self.panel.clock)]).encode())
        for array in (*self.ticks, *self.series):
            table.update(f"{array.shape}".encode() + array.tobytes())
        described = {
            "format": "titans-seq series 1", "table": table.hexdigest(), "model": fingerprint(self.embedder),
            "device": next(self.embedder.task_.parameters()).device.type, **what,
        }  # fmt: skip
        return WorkFolder(self.out, job=described, slots=1, regions=regions, width=width)


def open_job(
    *,
    table: Path,
    out: Path,
    options: TableOptions,
    suffixes: Sequence[str],
    model: Path | None = None,
    train: int = 0,
    device: str = "auto",
    threads: int | None = None,
) -> SeriesJob:
    """Read and check everything, and train where that is asked for.

    Parameters
    ----------
    suffixes
        Endings that the name of the output may have.
    model
        What `TitansEmbedder.save` wrote for series, or with ``train``, where to write such a file.
    train
        Steps of self-supervised training on this table first.
    """
    if out.suffix not in suffixes:
        raise unknown_name("kind of output file", out.suffix or out.name, suffixes)
    check_out(out)
    if train and model is None:
        raise ConfigError("--train writes the model it makes: name a new file by --model")
    if train and model is not None and model.exists():
        raise ConfigError(
            f"{model} is there already: leave --train out to read with it, or name a new file for --train to write"
        )
    if train and model is not None:
        check_out(model)
    where = choose_device(device)
    torch.set_num_threads(threads or 1)  # the operations are too small to be worth sharing
    keep_freed_memory()
    embedder = None if model is None or train else open_embedder(model)
    panel = read_table(table, options)
    names, ticks, series = series_of(panel, apart=options.wide)
    if embedder is None:
        embedder = TitansEmbedder(scale="past", steps=train, device=str(where)).fit(list(series))
        if train and model is not None:
            embedder.save(model)
    channels = len(embedder.scale_.centre)
    if channels != series[0].shape[1]:
        raise ConfigError(f"{model}: reads series of {channels} columns, found {series[0].shape[1]} in {table}")
    embedder.task_.to(where)
    return SeriesJob(panel, names, ticks, series, embedder, out)
