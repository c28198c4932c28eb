"""Open a table lazily: CSV with any usual separator, plain or gzip, or Parquet."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl

from titans_seq.errors import InputFileError

_PARQUET = (".parquet", ".pq", ".parq")


def open_table(path: Path) -> tuple[pl.LazyFrame, bool]:
    """Scan a table; gives the lazy frame and whether its cells are text (CSV).

    Raises
    ------
    InputFileError
        A missing, empty or broken file, a header with the same name twice.
    """
    if not path.is_file():
        raise InputFileError(path, problem="no such file")
    if path.suffix.lower() in _PARQUET:
        try:
            frame = pl.scan_parquet(path)
            frame.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputFileError(path, expected="a Parquet file", found=str(error).splitlines()[0]) from None
        return frame, False
    header = _first_line(path)
    separator = max(",;\t", key=header.count)
    names = [name.strip().strip('"') for name in header.split(separator)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputFileError(path, 1, problem=f"the column {twice[0]!r} stands in the header twice")
    try:
        frame = pl.scan_csv(path, separator=separator, infer_schema=False, truncate_ragged_lines=False)
        frame.head(1000).collect()
    except pl.exceptions.PolarsError as error:
        raise InputFileError(
            path, expected="a table with as many cells in each line as in the header", found=str(error).splitlines()[0]
        ) from None
    return frame, True


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            line = file.readline(1 << 20)
    except (OSError, EOFError) as error:
        raise InputFileError(path, problem=f"cannot be read ({error})") from None
    try:
        text = line.decode("utf-8-sig").strip("\r\n")
    except UnicodeDecodeError:
        raise InputFileError(path, 1, expected="text in UTF-8", found="other bytes") from None
    if not text:
        raise InputFileError(path, problem="the file is empty", expected="a header and rows")
    return text
