"""BED rows as features: the name column is the type, so that a BED file can be an annotation."""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np

from titans_seq.errors import InputFileError
from titans_seq.genomics.gff import read_annotation
from titans_seq.genomics.regions import Attributes, Features
from titans_seq.genomics.sources import Source

_STRANDS: Final = {"+": 1, "-": -1, ".": 0}
_NO_ROWS: Final = ("#", "track", "browser")


def read_labels(path: str | os.PathLike[str]) -> Features:
    """GFF3, GTF, GenBank, or, by its extension, BED (plain or gzip)."""
    bare = os.fspath(path).lower().removesuffix(".gz").removesuffix(".bgz")
    return read_bed_features(path) if bare.endswith(".bed") else read_annotation(path)


def read_bed_features(path: str | os.PathLike[str]) -> Features:
    """Rows ``contig start end name [score strand]`` as features of type `name`; 0-based half-open, as in the file.

    Without a strand column a row has no strand.

    Raises
    ------
    InputFileError
        A row with fewer than four columns, coordinates that are no numbers or not ``0 <= start < end``, an unknown
        strand; with its line.
    """
    source = Source(path)
    text = b"".join(source.blocks()).decode("utf-8", "replace")
    rows = [
        _row(line.split("\t") if "\t" in line else line.split(), number, source.path)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith(_NO_ROWS)
    ]
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(5)]
    size = len(rows)
    return Features(
        source.path,
        np.array(columns[0], dtype=np.str_),
        np.array(columns[3], dtype=np.str_),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[4], dtype=np.int8),
        np.full(size, -1, dtype=np.int8),
        np.array([f"ID=row{number}" for number in range(size)], dtype=np.object_),
        _identity,
    )


def _row(cells: list[str], line: int, path: str) -> tuple[str, int, int, str, int]:
    if len(cells) < 4:
        raise InputFileError(
            path, line, expected="contig, start, end and a class as name (BED4 or wider)", found=f"{len(cells)} columns"
        )
    try:
        start, end = int(cells[1]), int(cells[2])
    except ValueError:
        raise InputFileError(
            path, line, expected="start and end as numbers", found=f"{cells[1]!r} {cells[2]!r}"
        ) from None
    if not 0 <= start < end:
        raise InputFileError(path, line, expected="0 <= start < end", found=f"{start} .. {end}")
    sign = cells[5].strip() if len(cells) > 5 else "."
    if sign not in _STRANDS:
        raise InputFileError(path, line, expected="strand +, - or .", found=repr(sign))
    return cells[0], start, end, cells[3].strip(), _STRANDS[sign]


def _identity(text: str) -> Attributes:
    key, _, value = text.partition("=")
    return {key: [value]}
