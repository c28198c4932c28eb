"""What was passed as X: sequences, regions of a genome, or numeric series. Told apart by looking, never by guessing.

=========================================  ==============================================================
X                                          rows of the result
=========================================  ==============================================================
list, array or column of strings           sequences
list of Biopython records                  sequences
path of a FASTA                            its contigs, or the intervals of the BED given as ``regions``
path of a BED, with ``genome``             its regions
frame with chrom, start, end[, strand]     regions of ``genome``; also a list of (chrom, start, end[, strand])
array (n, T) or (n, T, C), numeric frame   series: a row of T time steps, of one or C channels
frame with unique_id, ds, y                one series per unique_id, in order of first appearance
list of arrays of unequal length           series
=========================================  ==============================================================
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from titans_seq.errors import ConfigError, RangeError, ShapeError
from titans_seq.genomics import encode

Kind = Literal["sequences", "fasta", "regions", "array", "ragged", "table"]
Region = tuple[str, int, int, str]

REGION_COLUMNS = ("chrom", "start", "end")
TABLE_COLUMNS = ("unique_id", "ds", "y")


def kind_of(X: Any) -> Kind:
    """Say what X is; see the table above.

    Raises
    ------
    ShapeError
        A frame with some of the columns that make it one of regions or of series, but not all.
    """
    if isinstance(X, str | os.PathLike):
        return "fasta"
    columns = _columns(X)
    if columns is not None:
        kinds: tuple[tuple[Kind, tuple[str, ...], str], ...]
        kinds = (("regions", REGION_COLUMNS, "regions"), ("table", TABLE_COLUMNS, "series"))
        for kind, wanted, words in kinds:
            if set(wanted) <= set(columns):
                return kind
            if wanted[0] in columns:
                missing = ", ".join(name for name in wanted if name not in columns)
                raise ShapeError(f"a frame of {words} has the columns {', '.join(wanted)}; found none named {missing}")
        return "array"
    # A sparse matrix is an array that scikit-learn refuses in its own words.
    first = None if hasattr(X, "tocsr") else _first(X)
    if isinstance(first, str | bytes) or hasattr(first, "seq"):
        return "sequences"
    if isinstance(first, Sequence | np.ndarray) and len(first) in (3, 4) and isinstance(first[0], str):
        return "regions"
    if isinstance(X, list | tuple) and isinstance(first, np.ndarray):
        return "array" if len({np.shape(one) for one in X}) == 1 else "ragged"
    return "array"


def sequences_of(X: Any) -> list[npt.NDArray[np.uint8]]:
    """Tokens of strings or records.

    Raises
    ------
    RangeError
        A letter that is no nucleotide code, or an empty sequence, with the row.
    """
    found = []
    for row, one in enumerate(X):
        text = one if isinstance(one, str | bytes) else str(getattr(one, "seq", one))
        try:
            tokens = encode(text)
        except RangeError as error:
            raise RangeError(f"row {row}: {error}") from None
        if not len(tokens):
            raise RangeError(f"row {row}: expected a sequence, found an empty one")
        found.append(tokens)
    return found


def regions_of(X: Any) -> list[Region]:
    """Regions of a frame or of tuples; strand ``+`` where none is given.

    Raises
    ------
    ShapeError
        A row that is not contig, start, end and perhaps strand.
    """
    columns = _columns(X)
    if columns is not None:
        names = [*REGION_COLUMNS, *(["strand"] if "strand" in columns else [])]
        X = list(zip(*(np.asarray(X[name]).tolist() for name in names), strict=True))
    found = []
    for row, one in enumerate(X):
        try:
            contig, start, end, *strand = one
            found.append((str(contig), int(start), int(end), "-" if strand and strand[0] == "-" else "+"))
        except (TypeError, ValueError):
            raise ShapeError(f"row {row}: expected (chrom, start, end) or with strand, found {one!r}") from None
    return found


def ragged_of(X: Any) -> list[npt.NDArray[np.float64]]:
    """Series of unequal length, each (T,) or (T, C), as (T, C) float64."""
    return [_as_series(one, where=f"series {number}") for number, one in enumerate(X)]


def array_series(X: npt.NDArray[Any]) -> list[npt.NDArray[np.float64]]:
    """Rows of (n, T) or (n, T, C) as series (T, C)."""
    return [_as_series(row, where="X") for row in X]


def table_of(X: Any) -> list[npt.NDArray[np.float64]]:
    """Series of a long table, one per ``unique_id`` in order of first appearance, by time."""
    names = np.asarray(X["unique_id"])
    times, values = np.asarray(X["ds"]), np.asarray(X["y"], dtype=np.float64)
    _, first, codes = np.unique(names, return_index=True, return_inverse=True)
    found = []
    for code in np.argsort(first):
        rows = np.flatnonzero(codes == code)
        found.append(values[rows[np.argsort(times[rows], kind="stable")], None])
    return found


def existing(path: Any, *, what: str) -> Path:
    """A path that must be there."""
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"expected the path of {what}, found {type(path).__name__}")
    return Path(path)


def _as_series(one: Any, *, where: str) -> npt.NDArray[np.float64]:
    try:
        series = np.asarray(one, dtype=np.float64)
    except (TypeError, ValueError):
        raise ShapeError(f"{where}: expected numbers, found {type(one).__name__}") from None
    return series[:, None] if series.ndim == 1 else series


def _columns(X: Any) -> list[str] | None:
    """Names of a frame's columns (polars, pandas); None for what is no frame."""
    columns = getattr(X, "columns", None)
    return None if columns is None or not hasattr(X, "__getitem__") else [str(name) for name in columns]


def _first(X: Any) -> Any:
    """The first row, None where there is none or X cannot be indexed."""
    try:
        return next(iter(X), None)
    except TypeError:
        return None
