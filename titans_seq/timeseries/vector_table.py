"""One vector per series or window of time, on disk: id, first and last stamp, vector.

========  ==========================================================================================
.parquet  columns ``unique_id start end``, and ``vector`` (an array of float32 in each row)
.csv      columns ``unique_id start end v0 v1 ...``
.npy      float32 (rows, width); beside it OUT.csv, with a line for each row: ``unique_id start end``
========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.files import replacing
from titans_seq.timeseries.clock import Clock, Ticks
from titans_seq.timeseries.score_table import stamp_column, write_rows

SUFFIXES: Final = (".parquet", ".csv", ".npy")
Windows = NDArray[np.int64]
"""(n, 2): first row of a window, and the one behind its last."""


def window_rows(length: int, *, window: int | None, stride: int | None) -> Windows:
    """Windows at 0, ``stride``, ... of a series, until one reaches its end, where it is cut off.

    10 rows, a window of 6 and a stride of 3: 0 .. 6, 3 .. 9, 6 .. 10. Without a window, all rows.
    """
    if window is None:
        return np.array([[0, length]])
    stride = stride or window
    last = max(0, -(-(length - window) // stride))
    starts = np.arange(min(1 + last, -(-length // stride))) * stride
    return np.stack([starts, np.minimum(starts + window, length)], 1)


def write_vectors(
    out: Path, names: Sequence[str], ticks: Sequence[Ticks], windows: Sequence[Windows],
    vectors: NDArray[np.float32], *, clock: Clock,
) -> None:  # fmt: skip
    """Write the vectors of all windows, series after series, in the format that the name asks for.

    Parameters
    ----------
    names, ticks, windows
        Id, stamps and windows of each series.
    vectors
        (windows in all, width).
    """
    places = pl.concat([
        pl.DataFrame({
            "unique_id": pl.Series([name] * len(own), dtype=pl.String),
            "start": stamp_column(stamps[own[:, 0]], clock),
            "end": stamp_column(stamps[own[:, 1] - 1], clock),
        })
        for name, stamps, own in zip(names, ticks, windows, strict=True)
    ])  # fmt: skip
    width = vectors.shape[1]
    if out.suffix == ".parquet":
        write_rows(out, places.with_columns(pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, width))))
    elif out.suffix == ".csv":
        write_rows(out, places.hstack(pl.DataFrame(vectors, schema=[f"v{column}" for column in range(width)])))
    else:
        with replacing(out) as temporary:
            with temporary.open("wb") as file:
                np.save(file, vectors)
            write_rows(out.with_suffix(".csv"), places)
