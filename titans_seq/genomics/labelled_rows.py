"""Rows of labelled sequences as text: FASTA records, and records of CSV, TSV and Parquet tables, with their lines.

The only file that knows these formats; what a row means is decided in :mod:`titans_seq.genomics.labelled_files`.
"""

from __future__ import annotations

import csv
import itertools
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars

from titans_seq.errors import InputFileError, RangeError
from titans_seq.genomics.alphabet import encode
from titans_seq.genomics.sources import Source

FASTA_SUFFIXES: Final = (".fa", ".fasta", ".fna", ".ffn", ".fas")
PARQUET_SUFFIXES: Final = (".parquet", ".pq")


@dataclass(frozen=True)
class Columns:
    """Where a table keeps what.

    Attributes
    ----------
    sequence, label, name
        Names of columns; ``name`` may be missing from the file.
    header
        Names of all columns of a file without a header line, from left to right; empty where the first line has them.
    """

    sequence: str = "sequence"
    label: str = "label"
    name: str = "name"
    header: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One sequence as text, where it stands, and the words beside it; line 0 where a format has no lines."""

    sequence: str
    label: str | None
    name: str
    line: int
    part: str = ""


def is_fasta(path: str) -> bool:
    """Tell a FASTA file from a table by its suffix; standard input counts as FASTA."""
    return path == "-" or bare_name(path).lower().endswith(FASTA_SUFFIXES)


def fasta_rows(path: str) -> Iterator[Row]:
    """Give the records of a FASTA file; a header may be empty, and a name may come twice."""
    name, at, pieces = None, 0, list[str]()
    for number, line in numbered_lines(path):
        if line.startswith(">"):
            if name is not None:
                yield _fasta_row(path, name, at, pieces)
            name, at, pieces = line[1:].strip().split(None, 1)[0] if line[1:].strip() else "", number, []
        elif line.strip() and not line.startswith(";"):
            if name is None:
                raise InputFileError(path, number, expected="a '>' header (FASTA) first", found=repr(line[:30]))
            word = "".join(line.split())
            _check_letters(word, path, number)
            pieces.append(word)
    if name is not None:
        yield _fasta_row(path, name, at, pieces)


def _fasta_row(path: str, name: str, line: int, pieces: list[str]) -> Row:
    if not pieces:
        raise InputFileError(path, line, expected="a sequence below the header", found="none")
    return Row("".join(pieces), None, name, line)


def table_rows(path: str, columns: Columns, *, labelled: bool, split_column: str | None = None) -> Iterator[Row]:
    """Give the rows of a CSV, TSV or Parquet table.

    Parameters
    ----------
    labelled
        Whether every row must have a label; a label column that is there is read in any case.
    split_column
        Column of the word that goes into ``Row.part``.
    """
    records = _parquet_records(path) if bare_name(path).lower().endswith(PARQUET_SUFFIXES) else _csv_records(path)
    header = list(columns.header)
    if not header:
        _, header = next(records, (0, list[str]()))
        header = [name.strip() for name in header]
    places = {
        name: place_of(path, header, name) for name in (columns.sequence, *((columns.label,) if labelled else ()))
    }
    label = places.get(columns.label, header.index(columns.label) if columns.label in header else None)
    named = header.index(columns.name) if columns.name in header else None
    parted = None if split_column is None else place_of(path, header, split_column)
    for line, fields in records:
        if len(fields) != len(header):
            raise InputFileError(path, line, expected=f"{len(header)} fields", found=f"{len(fields)}")
        sequence = "".join(fields[places[columns.sequence]].split())
        if not sequence:
            raise InputFileError(path, line, expected=f"a sequence in column {columns.sequence!r}", found="none")
        _check_letters(sequence, path, line)
        word = None if label is None else fields[label].strip()
        if labelled and not word:
            raise InputFileError(path, line, expected=f"a label in column {columns.label!r}", found="none")
        name, part = ("" if at is None else fields[at].strip() for at in (named, parted))
        yield Row(sequence, word or None, name, line or 0, part)


def place_of(path: str, header: Sequence[str], name: str) -> int:
    """Give the place of a column, or say which columns there are."""
    if name not in header:
        shown = ", ".join(repr(column) for column in header[:12]) or "none"
        raise InputFileError(
            path, problem=f"no column {name!r}; there are {shown}",
            hint="name them by --sequence-column and --label-column, or give --columns where there is no header line",
        )  # fmt: skip
    return header.index(name)


def _csv_records(path: str) -> Iterator[tuple[int | None, list[str]]]:
    lines = numbered_lines(path)
    first = next(lines, None)
    if first is None:
        return
    delimiter = "\t" if "\t" in first[1] and "," not in first[1] else ","
    reader = csv.reader((line + "\n" for _, line in itertools.chain([first], lines)), delimiter=delimiter)
    try:
        for record in reader:
            if any(field.strip() for field in record):
                yield reader.line_num, record
    except csv.Error as error:
        raise InputFileError(path, reader.line_num, expected="CSV", found=str(error)) from None


def _parquet_records(path: str) -> Iterator[tuple[int | None, list[str]]]:
    try:
        frame = polars.read_parquet(path)
    except FileNotFoundError:
        raise InputFileError(path, problem="no such file") from None
    except (polars.exceptions.PolarsError, OSError) as error:
        raise InputFileError(path, expected="Parquet", found=str(error).splitlines()[0]) from None
    yield None, frame.columns
    for record in frame.iter_rows():
        yield None, ["" if value is None else str(value) for value in record]


def numbered_lines(path: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends (Unix, Windows or old Macintosh)."""
    rest, number = "", 0
    for block in _decoded(path):
        lines = (rest + block).replace("\r\n", "\n")
        # A carriage return at the very end may have its newline in the next block.
        held = lines.endswith("\r")
        *whole, rest = (lines[:-1] if held else lines).replace("\r", "\n").split("\n")
        rest += "\r" if held else ""
        for line in whole:
            number += 1
            yield number, line
    for line in rest.rstrip("\r").split("\r") if rest else ():
        number += 1
        yield number, line


def _decoded(path: str) -> Iterator[str]:
    decoder = getincrementaldecoder("utf-8")()
    try:
        for block in Source(path).blocks():
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise InputFileError(path, expected="text in UTF-8", found="other bytes", hint="a binary file?") from None


def _check_letters(word: str, path: str, line: int | None) -> None:
    try:
        encode(word)
    except RangeError as error:
        raise InputFileError(path, line, problem=str(error)) from None


def bare_name(path: str) -> str:
    """Give the file's name without a suffix of compression."""
    name = Path(path).name
    return name.removesuffix(".gz").removesuffix(".bgz")
