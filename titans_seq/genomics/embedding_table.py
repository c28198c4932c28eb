"""One vector per region, on disk: Parquet, NumPy's .npy with a table of coordinates, or .h5ad.

=========  ===========================================================================================================
.parquet   columns ``chrom start end strand name``, and ``vector`` (an array of float32 in each row)
.npy       float32 (regions, width); beside it OUT.tsv, with a line for each row: ``chrom start end strand name``
.h5ad      AnnData: ``X`` the vectors, ``obs`` the coordinates; needs ``pip install anndata``
=========  ===========================================================================================================

Coordinates are 0-based half-open. ``strand`` is the one that was read, ``.`` for both. ``name`` is there if the regions
have names. Every file is written under a temporary name and renamed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import numpy.typing as npt

from titans_seq.errors import ConfigError, unknown_name
from titans_seq.files import replacing
from titans_seq.genomics.intervals import Intervals

SUFFIXES: Final = (".parquet", ".npy", ".h5ad")
_BLOCK: Final = 1 << 14

Floats = npt.NDArray[np.float32]
Rows = Callable[[int, int], Floats]
"""Vectors of regions ``start .. stop``: float32 (stop - start, width)."""


@dataclass(frozen=True)
class EmbeddingTable:
    """What is written: regions, the names of their contigs, the strand of each, and where the vectors come from."""

    regions: Intervals
    contigs: Sequence[str]
    strands: npt.NDArray[np.str_]
    rows: Rows
    width: int

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Rows start .. stop that are held at a time."""
        for start in range(0, len(self.regions), _BLOCK):
            yield start, min(start + _BLOCK, len(self.regions))

    def columns(self, start: int, stop: int) -> dict[str, Any]:
        """Coordinates of some rows, by column."""
        r = self.regions
        found: dict[str, Any] = {
            "chrom": [self.contigs[number] for number in r.contig[start:stop]],
            "start": r.start[start:stop],
            "end": r.end[start:stop],
            "strand": self.strands[start:stop].tolist(),
        }
        return found if r.names is None else {**found, "name": list(r.names[start:stop])}


def check_suffix(out: Path) -> str:
    """The kind of file that a name asks for.

    Raises
    ------
    UnknownNameError
        None of `SUFFIXES`.
    ConfigError
        ``.h5ad`` without anndata.
    """
    if out.suffix not in SUFFIXES:
        raise unknown_name("kind of output file", out.suffix or out.name, SUFFIXES)
    if out.suffix == ".h5ad":
        _anndata()
    return out.suffix


def write_embeddings(out: Path, table: EmbeddingTable) -> None:
    """Write the table in the format that the name of the file asks for."""
    {".parquet": _write_parquet, ".npy": _write_npy, ".h5ad": _write_h5ad}[check_suffix(out)](out, table)


def coordinates_path(out: Path) -> Path:
    """The table of coordinates beside an .npy."""
    return out.with_suffix(".tsv")


def _write_npy(out: Path, table: EmbeddingTable) -> None:
    # Both are renamed when both are whole.
    with replacing(coordinates_path(out)) as coordinates, replacing(out) as vectors:
        with coordinates.open("w", encoding="utf-8") as text:
            _write_coordinates(text, table)
        with vectors.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(table.regions), table.width)}
            np.lib.format.write_array_header_1_0(file, header)
            for start, stop in table.blocks():
                file.write(table.rows(start, stop).astype("<f4", copy=False).tobytes())


def _write_coordinates(text: TextIO, table: EmbeddingTable) -> None:
    for start, stop in table.blocks():
        columns = table.columns(start, stop)
        if start == 0:
            text.write("\t".join(columns) + "\n")
        for row in zip(*columns.values(), strict=True):
            text.write("\t".join(map(str, row)) + "\n")


def _write_parquet(out: Path, table: EmbeddingTable) -> None:
    import polars as pl
    from polars.io.plugins import register_io_source

    def frame(start: int, stop: int) -> pl.DataFrame:
        columns = table.columns(start, stop)
        vectors = pl.Series("vector", table.rows(start, stop), dtype=pl.Array(pl.Float32, table.width))
        return pl.DataFrame({**columns, "vector": vectors}, schema_overrides={"start": pl.Int64, "end": pl.Int64})

    def row_groups(*_: object) -> Iterator[pl.DataFrame]:
        return (frame(start, stop) for start, stop in table.blocks())

    whole = register_io_source(row_groups, schema=frame(0, min(1, len(table.regions))).schema)
    with replacing(out) as temporary:
        whole.sink_parquet(temporary, compression="zstd", row_group_size=_BLOCK)


def _write_h5ad(out: Path, table: EmbeddingTable) -> None:
    anndata = _anndata()
    count = len(table.regions)
    found = anndata.AnnData(X=table.rows(0, count).copy(), obs=table.columns(0, count))
    with replacing(out) as temporary, contextlib.redirect_stdout(None):
        found.write_h5ad(temporary)


def _anndata() -> Any:
    try:
        import anndata
    except ImportError:
        raise ConfigError(".h5ad needs anndata; pip install anndata, or write .parquet or .npy") from None
    return anndata
