"""Tables larger than memory: which of their rows are looked at, decided in a pass of its own before any is kept."""

from __future__ import annotations

from collections.abc import Iterable
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
SMALL: Final = 1_000_000
"""Bytes of a file that needs no look: compressed or not, it fits."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Rows of a table that are read.

    Attributes
    ----------
    since
        ``id, since``: of each series the rows behind this tick are read; None for all rows.
    note
        What is left out, as a sentence; None where nothing is.
    """

    since: pl.DataFrame | None = None
    note: str | None = None

    def keep(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Keep the rows ``id, tick, ...`` that are read; those without a tick stay, to be refused."""
        if self.since is None:
            return rows
        joined = rows.join(self.since, on="id", how="left", maintain_order="left", nulls_equal=True)
        return joined.filter(pl.col("tick").is_null() | (pl.col("tick") > pl.col("since"))).drop("since")


def newest_rows(stamps: Iterable[pl.DataFrame], *, max_rows: int, numbers: int, path: Path) -> Extent:
    """Find the newest rows of every series where a table has more than ``max_rows`` of them.

    With R rows in all and S series, each series keeps the rows of its last ``max(max_rows, 2,000 S) / R`` of the time
    that the table covers.

    Parameters
    ----------
    stamps
        Every row's ``id, tick``, a block at a time.
    max_rows
        Of all series together.
    numbers
        Columns that are read, for the estimate of memory.

    Raises
    ------
    RangeError
        Rows that would not fit into the memory that is free.
    """
    tick = pl.col("tick")
    ends = pl.DataFrame(schema={"id": pl.String, "first": pl.Int64, "last": pl.Int64, "rows": pl.Int64})
    for block in stamps:
        here = block.group_by("id").agg(first=tick.min(), last=tick.max(), rows=pl.len().cast(pl.Int64))
        both = pl.concat([ends, here]).group_by("id")
        ends = both.agg(pl.col("first").min(), pl.col("last").max(), pl.col("rows").sum())
    count = int(ends["rows"].sum())
    most = max(max_rows, LEAST * len(ends))
    check_memory(min(count, most), numbers=numbers, path=path)
    if count <= most or ends["last"].null_count() == len(ends):
        return Extent()
    first, last = ends.select(pl.col("first").min(), pl.col("last").max()).row(0)
    span = (last - first) * most // count
    note = f"of {count:,} rows about the newest {most:,} are looked at; --max-rows 0 takes all"
    return Extent(ends.select("id", since=pl.col("last") - span), note)


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
