"""From the cells of a table to ticks and numbers, block by block, with the line of whatever cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from titans_seq.errors import InputFileError
from titans_seq.timeseries.cells import LARGEST, WITH_OFFSET, read_numbers, read_times, unreadable
from titans_seq.timeseries.clock import DAY, Clock
from titans_seq.timeseries.columns import Columns
from titans_seq.timeseries.csv_blocks import ROW
from titans_seq.timeseries.extent import SMALL, Extent, check_memory, newest_rows
from titans_seq.timeseries.grid import Rows
from titans_seq.timeseries.sources import Table
from titans_seq.timeseries.zones import local_to_utc, parse_moment, wall_time

_CELL: Final = "time"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which rows by their time: those behind the tick ``newer_than``, and not later than the moment ``as_of``."""

    newer_than: int | None = None
    as_of: str | None = None

    def keep(self, rows: pl.DataFrame, *, integers: bool, zone: bool) -> pl.DataFrame:
        """Keep the rows within; those without a tick stay, to be refused.

        In a ``zone`` ticks may still be wall time here: a day of margin, and whoever asked cuts exactly.
        """
        margin, tick = DAY if zone and not integers else 0, pl.col("tick")
        if self.newer_than is not None:
            rows = rows.filter(tick.is_null() | (tick > self.newer_than - margin))
        if self.as_of is not None:
            moment = parse_moment(self.as_of, Clock("integer" if integers else "us", 1, 0))
            rows = rows.filter(tick.is_null() | (tick <= moment + margin))
        return rows


class Reader:
    """Passes over a table: one for each question about the whole of it, one that keeps rows.

    Parameters
    ----------
    zone
        Zone of stamps that are written without one; afterwards that of the table.
    max_rows
        See `titans_seq.timeseries.extent`; 0 for all rows.
    """

    def __init__(
        self, table: Table, columns: Columns, *, zone: str | None, decimal_comma: bool, max_rows: int, bounds: Bounds
    ) -> None:
        self.table = table
        self.columns = columns
        self.zone = zone
        self.decimal_comma = decimal_comma
        self.max_rows = max_rows
        self.bounds = bounds
        self.notes: list[str] = []
        self._numbers = (*columns.targets, *columns.covariates)
        self._reading: str | None = None

    def read(self) -> Rows | None:
        """Give the rows sorted by id and time; None without any."""
        self._reading = self._one_reading()
        extent = self._extent()
        parts, count = [], 0
        for block in self._blocks(self._numbers):
            part = self._read_numbers(extent.keep(block))
            count += len(part)
            if extent.since is None:
                check_memory(count, numbers=len(self._numbers), path=self.table.path)
            if len(part):
                parts.append(part)
        if not parts:
            return None
        rows = self._in_utc(pl.concat(parts))
        del parts
        return Rows.sort(rows, targets=len(self.columns.targets), covariates=len(self.columns.covariates))

    def dates(self, rows: Rows) -> bool:
        """Whether every stamp is a midnight of its zone."""
        if self.columns.integers:
            return False
        midnight = rows.ticks if self.zone is None else wall_time(rows.ticks, self.zone)
        return bool((midnight % DAY == 0).all())

    def _one_reading(self) -> str | None:
        """Settle how the time column is read, by all of it where its first rows leave a choice."""
        left = list(self.columns.readings)
        if len(left) > 1:
            for block in self.table.blocks([self.columns.time]):
                cells = block[self.columns.time]
                left = [name for name in left if read_times(cells, name).null_count() == 0] or left[:1]
                if len(left) < 2:
                    break
        if len(left) > 1:
            raise InputFileError(
                self.table.path, problem=f"column {self.columns.time!r} can be read as {' or '.join(left)}",
                hint="say which by --time-format",
            )  # fmt: skip
        return left[0] if left else None

    def _extent(self) -> Extent:
        path = self.table.path
        if not self.max_rows or not path.is_file() or path.stat().st_size < SMALL:
            return Extent()
        stamps = (block.select("id", "tick") for block in self._blocks(()))
        extent = newest_rows(stamps, max_rows=self.max_rows, numbers=len(self._numbers), path=path)
        self.notes += [extent.note] if extent.note is not None else []
        return extent

    def _blocks(self, numbers: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Give ``tick, id, time, n0, n1, ...`` of the rows within the bounds; the time and numbers as they stand."""
        columns = self.columns
        wanted = dict.fromkeys((columns.time, *([columns.id] if columns.id is not None else []), *numbers))
        for block in self.table.blocks(list(wanted)):
            name = pl.lit("") if columns.id is None else pl.col(columns.id).cast(pl.String)
            ticks = self._ticks(block[columns.time])
            cells = [pl.col(number).alias(f"n{i}") for i, number in enumerate(numbers)]
            found = block.select(ROW, ticks.alias("tick"), name.alias("id"), pl.col(columns.time).alias(_CELL), *cells)
            zone = self.zone is not None or self._written_zone() is not None
            yield self.bounds.keep(found, integers=columns.integers, zone=zone)

    def _ticks(self, cells: pl.Series) -> pl.Series:
        if self._reading is not None:
            return read_times(cells, self._reading)
        if self.columns.integers:
            text = cells.str.strip_chars() if cells.dtype == pl.String else cells
            return text.cast(pl.Int64, strict=False)
        return cells.cast(pl.Datetime("us")).dt.epoch("us")

    def _read_numbers(self, part: pl.DataFrame) -> pl.DataFrame:
        """Turn the cells into numbers; the first line that holds anything else is refused."""
        found, wrong = {}, []
        for i in range(len(self._numbers)):
            cells = part[f"n{i}"]
            found[f"n{i}"] = read_numbers(cells, decimal_comma=self.decimal_comma)
            bad = unreadable(cells, found[f"n{i}"])
            if bad.any():
                wrong.append((int(bad.arg_max() or 0), i))
        for at, name in ((0, "tick"), (1, "id")):
            if part[name].null_count():
                wrong.append((int(part[name].is_null().arg_max() or 0), at - 2))
        if wrong:
            self._refuse(part, *min(wrong))
        return part.select(ROW, "tick", "id", *[pl.Series(name, values) for name, values in found.items()])

    def _refuse(self, part: pl.DataFrame, row: int, what: int) -> None:
        """Refuse a row for its time (-2), its id (-1) or a number."""
        line = int(part[ROW][row]) + self.table.first_line
        path, columns = self.table.path, self.columns
        if what == -2:
            form = "a stamp like the others" if self._reading is None else f"a stamp like the others ({self._reading})"
            raise InputFileError(
                path, line, problem=f"column {columns.time!r}", expected=form, found=_shown(part[_CELL][row]),
                hint="mixed formats, or stamps with and without a zone, cannot be told apart",
            )  # fmt: skip
        if what == -1:
            raise InputFileError(path, line, problem=f"the id {columns.id!r} is empty", hint="give the row an id")
        cell = str(part[f"n{what}"][row])
        hint = "leave the cell empty where the value is missing"
        if cell.count(",") == 1 and not self.decimal_comma:
            hint = "give --decimal-comma"
        elif cell.strip().lower().lstrip("+-") in ("inf", "infinity"):
            hint = "an infinite value cannot be learned from; leave the cell empty to mark it missing"
        elif not read_numbers(part[f"n{what}"][row : row + 1], decimal_comma=self.decimal_comma).null_count():
            hint = f"numbers beyond {LARGEST:g} cannot be squared and summed; divide the column"
        problem = f"column {self._numbers[what]!r}"
        raise InputFileError(path, line, problem=problem, expected="a number", found=repr(cell), hint=hint)

    def _in_utc(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Bring wall times to UTC where a zone is known."""
        columns, written = self.columns, self._written_zone()
        if self._reading == WITH_OFFSET or written is not None:
            self.zone = self.zone or written or "UTC"
        elif self.zone is not None and not columns.integers:
            ids = rows["id"].rank("dense").to_numpy() if columns.id is not None else None
            lines = rows[ROW].to_numpy() + self.table.first_line
            ticks = local_to_utc(rows["tick"].to_numpy(), self.zone, lines=lines, groups=ids, path=self.table.path)
            return rows.with_columns(pl.Series("tick", ticks))
        return rows

    def _written_zone(self) -> str | None:
        """Give the zone that a Parquet file or a frame has written into its time column."""
        dtype = self.table.schema[self.columns.time]
        return dtype.time_zone if isinstance(dtype, pl.Datetime) else None


def _shown(cell: object) -> str:
    return "an empty cell" if cell is None or cell == "" else repr(cell)
