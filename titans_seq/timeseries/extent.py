"""Tables larger than memory: which of their rows are looked at, decided in one lazy pass before any is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from titans_seq.errors import RangeError

LEAST: Final = 2000
"""Rows of each series that are always kept."""
ROW_BYTES: Final = 100
"""Peak memory of a row while a table with one number column is read, measured on 11 million rows."""
NUMBER_BYTES: Final = 32
"""The same for each further number column."""
_SMALL: Final = 1_000_000
"""Bytes of a file that needs no look: compressed or not, it fits."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Rows of a table that are read.

    Attributes
    ----------
    frame
        The lazy rows.
    note
        What was left out, as a sentence; None where nothing was.
    """

    frame: pl.LazyFrame
    note: str | None = None


def newest_rows(
    frame: pl.LazyFrame, tick: pl.Expr, id_column: str | None, *, max_rows: int, numbers: int, path: Path
) -> Extent:  # fmt: skip
    """Keep the newest rows of every series where a table has more than ``max_rows`` of them.

    With R rows in all and S series, each series keeps the rows of its last ``max(max_rows, 2,000 S) / R`` of the time
    that the table covers.

    Parameters
    ----------
    tick
        Reads the stamp of a row.
    max_rows
        Of all series together; 0 keeps all.
    numbers
        Columns that are read, for the estimate of memory.

    Raises
    ------
    RangeError
        Rows that would not fit into the memory that is free.
    """
    if path.is_file() and path.stat().st_size < _SMALL:
        return Extent(frame)
    name = pl.lit("") if id_column is None else pl.col(id_column).cast(pl.String)
    rows = frame.select(tick.alias("tick"), name.alias("series"))
    found = rows.group_by("series").agg(first=pl.col("tick").min(), last=pl.col("tick").max(), rows=pl.len())
    ends = found.collect(engine="streaming")
    count = int(ends["rows"].sum())
    most = max(max_rows, LEAST * len(ends)) if max_rows else count
    check_memory(min(count, most), numbers=numbers, path=path)
    if count <= most or ends["last"].null_count() == len(ends):
        return Extent(frame)
    first, last = ends.select(pl.col("first").min(), pl.col("last").max()).row(0)
    span = (last - first) * most // count
    since = ends.select("series", since=pl.col("last") - span)
    if id_column is None:
        kept = frame.filter(tick.is_null() | (tick > since["since"].item()))
    else:
        marked = frame.with_columns(name.alias("__series__"))
        joined = marked.join(since.lazy(), left_on="__series__", right_on="series", how="left", maintain_order="left")
        kept = joined.filter(tick.is_null() | (tick > pl.col("since"))).drop("__series__", "since")
    note = f"of {count:,} rows about the newest {most:,} are looked at; --max-rows 0 takes all"
    return Extent(kept, note)


def check_memory(rows: int, *, numbers: int, path: Path) -> None:
    """Refuse to read more rows than the free memory holds.

    Raises
    ------
    RangeError
        With both sizes.
    """
    needed = rows * (ROW_BYTES + NUMBER_BYTES * max(0, numbers - 1))
    free = free_memory()
    if free is not None and needed > free:
        raise RangeError(
            f"{path}: {rows:,} rows need about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; give "
            "--max-rows where the command has it, fewer columns by --target-col, or a part of the table"
        )


def free_memory() -> int | None:
    """Give the bytes that Linux could hand out; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no limit, or another kind of container
        return free
    return min(free, max(limit, 0))
