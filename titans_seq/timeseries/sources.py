"""Tables in blocks of rows: CSV with any usual separator, plain or gzip, Parquet, or a frame that is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from titans_seq.errors import InputFileError
from titans_seq.timeseries.csv_blocks import ROW, CsvTable, not_utf8, open_text

_PARQUET: Final = (".parquet", ".pq", ".parq")
_OTHERS: Final = {
    b"PK\x03\x04": "a ZIP archive or a workbook: unpack it, or save the sheet as CSV",
    b"ARROW1": "Arrow's own format: save it as Parquet or CSV",
    b"BZh": "bzip2: unpack it, or pack it as gzip",
    b"\xfd7zXZ": "xz: unpack it, or pack it as gzip",
    b"\x28\xb5\x2f\xfd": "zstd: unpack it, or pack it as gzip",
    b"\xff\xfe": "UTF-16: save it as UTF-8, e.g. iconv -f utf-16 -t utf-8 OLD.csv > NEW.csv",
    b"\xfe\xff": "UTF-16: save it as UTF-8, e.g. iconv -f utf-16 -t utf-8 OLD.csv > NEW.csv",
}
"""What a file that is none of ours begins with, and what to do with it."""
CELLS: Final = 2_000_000
"""Cells of a Parquet file that are read at once."""


class Table(Protocol):
    """Rows that can be read again and again, a block at a time."""

    @property
    def path(self) -> Path: ...
    @property
    def schema(self) -> pl.Schema: ...
    @property
    def first_line(self) -> int: ...
    def blocks(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Give the columns of some thousands of rows at once, with `ROW` beside them."""
        ...


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """A Parquet file; its rows are counted from 1 in messages."""

    path: Path
    schema: pl.Schema
    first_line: int = 1

    def blocks(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Give the rows in order, with their number from 0 as `ROW`."""
        scan = pl.scan_parquet(self.path).select(columns)
        count, first = CELLS // max(1, len(columns)), 0
        while True:
            try:
                block = scan.slice(first, count).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise _no_parquet(self.path, error) from None
            if block.is_empty():
                return
            yield block.with_columns(pl.int_range(first, first + len(block), dtype=pl.Int64).alias(ROW))
            first += len(block)


@dataclass(frozen=True, slots=True)
class FrameTable:
    """A frame in memory."""

    frame: pl.DataFrame
    path: Path = Path("table")
    first_line: int = 1

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the frame."""
        return self.frame.schema

    def blocks(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Give all rows at once."""
        yield self.frame.select(columns).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW))


def open_table(path: Path) -> Table:
    """Open a table; its content, not its name, says whether it is Parquet.

    Raises
    ------
    InputFileError
        A missing, empty or broken file, another format, a header with the same name twice.
    """
    if not path.is_file():
        problem = "is a folder; expected a table" if path.is_dir() else "no such file"
        raise InputFileError(path, problem=problem if not path.exists() or path.is_dir() else "expected a plain file")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputFileError(path, problem=f"cannot be read ({error.strerror})") from None
    if start[:4] != b"PAR1" and path.suffix.lower() in _PARQUET:
        hint = "name it .csv if it is text, or fetch it again"
        raise InputFileError(path, expected="a Parquet file", found=f"one that begins with {start!r}", hint=hint)
    if start[:4] == b"PAR1":
        try:
            return ParquetTable(path, pl.scan_parquet(path).collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _no_parquet(path, error) from None
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise InputFileError(path, expected="a table as CSV or Parquet", found=what)
    header = _first_line(path)
    separator = max(",;\t|", key=header.count)
    names = [name.strip().strip('"') for name in header.split(separator)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputFileError(path, 1, problem=f"the column {twice[0]!r} stands in the header twice")
    return CsvTable(path, header, separator)


def first_rows(table: Table, count: int) -> tuple[pl.DataFrame, pl.Series]:
    """Give the first rows, every column of them, and their lines."""
    found = pl.DataFrame(schema={**table.schema, ROW: pl.Int64})
    for block in table.blocks(table.schema.names()):
        found = pl.concat([found, block.head(count - len(found))])
        if len(found) == count:
            break
    return found.drop(ROW), found[ROW] + table.first_line


def _no_parquet(path: Path, error: Exception) -> InputFileError:
    hint = "is it cut off? fetch it again"
    return InputFileError(path, expected="a Parquet file", found=str(error).splitlines()[0], hint=hint)


def _first_line(path: Path) -> str:
    try:
        with open_text(path) as file:
            line = file.readline(1 << 20)
    except (OSError, EOFError) as error:
        raise InputFileError(path, problem=f"cannot be read ({error})") from None
    if b"\0" in line:
        raise InputFileError(
            path, 1, expected="a table as CSV or Parquet", found="binary data, or text in UTF-16",
            hint="save it as CSV in UTF-8, e.g. iconv -f utf-16le -t utf-8 OLD.csv > NEW.csv",
        )  # fmt: skip
    try:
        text = line.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError as wrong:
        raise not_utf8(path, 1, line[wrong.start : wrong.start + 1]) from None
    if not text.strip():
        problem = "the file is empty" if not line else "its first line is empty"
        raise InputFileError(path, problem=problem, expected="a header and rows")
    if text.count('"') % 2:
        raise InputFileError(path, 1, problem="a quotation mark of the header is not closed")
    return text
