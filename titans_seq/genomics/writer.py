"""Writes a token store while letters arrive in blocks: tokens, N runs, soft-masked runs and one row per contig.

RAM is bounded by the block and, per contig, by its name and five numbers. The files are described in
:mod:`titans_seq.genomics.store`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from titans_seq.errors import InputFileError
from titans_seq.genomics.scan import Scan

INDEX: Final = "index.json"
TOKENS: Final = "tokens.u8"
CONTIGS: Final = "contigs.i64"
N_RUNS: Final = "n_runs.i64"
SOFT_RUNS: Final = "soft_runs.i64"
COLUMNS: Final = ("offset", "length", "n_count", "gc_count", "soft_masked")
VERSION: Final = 2


class Heading(NamedTuple):
    """A contig that begins; `line` is where its name stands in the file."""

    name: str
    line: int


class StoreWriter:
    """Appends blocks of checked letters to the files of a store in `folder`; :meth:`finish` writes the index.

    Parameters
    ----------
    folder : Path
        An empty folder, not yet under its final name.
    source : str
        The file that is read, for messages and for the index.
    """

    def __init__(self, folder: Path, *, source: str) -> None:
        self._folder = folder
        self._source = source
        self._tokens: BinaryIO = (folder / TOKENS).open("wb")
        self._n_runs = _RunFile(folder / N_RUNS)
        self._soft_runs = _RunFile(folder / SOFT_RUNS)
        self._lines: dict[str, int] = {}
        self._counts = np.zeros((1024, 4), dtype=np.int64)
        self._letters = np.zeros(256, dtype=np.int64)
        self._total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in (self._tokens, self._n_runs, self._soft_runs):
            handle.close()

    @property
    def has_contig(self) -> bool:
        """Whether any contig has begun."""
        return bool(self._lines)

    def write(self, found: Scan, headings: Sequence[Heading]) -> None:
        """Take in one block of letters, all of them checked.

        Row 0 of its counts belongs to the contig that is open, each further row to one of `headings`.

        Raises
        ------
        InputFileError
            A contig name that occurred before, or a contig without a sequence.
        """
        rows = self._open_rows(headings)
        counts = found.counts
        if rows.start < 0:  # nothing precedes the first heading of the file
            counts, rows = counts[1:], slice(0, rows.stop)
        self._counts[rows] += counts
        self._refuse_empty(rows.start, rows.stop - 1)
        size = found.tokens.size
        self._n_runs.add(found.n_edges, self._total, size)
        self._soft_runs.add(found.soft_edges, self._total, size)
        self._letters += found.letters
        self._tokens.write(found.tokens.data)
        self._total += size

    def finish(self, checksum: str) -> None:
        """Close the runs, write the contig table and the index, in which the file's checksum stands.

        Raises
        ------
        InputFileError
            The last contig has no sequence, or there is no contig at all.
        """
        if not self._lines:
            raise InputFileError(self._source, expected="a '>' header and a sequence", found="neither")
        self._refuse_empty(0, len(self._lines))
        for handle in (self._n_runs, self._soft_runs):
            handle.finish()
        counts = self._counts[: len(self._lines)]
        table = np.empty((len(counts), len(COLUMNS)), dtype="<i8")
        table[:, 0] = np.cumsum(counts[:, 0]) - counts[:, 0]
        table[:, 1:] = counts
        (self._folder / CONTIGS).write_bytes(table.tobytes())
        seen = np.flatnonzero(self._letters)
        index = {
            "format": "titans-seq token store",
            "version": VERSION,
            "source": self._source,
            "checksum": checksum,
            "total": self._total,
            "n_runs": self._n_runs.count,
            "soft_runs": self._soft_runs.count,
            "columns": COLUMNS,
            "letters": {chr(code): int(self._letters[code]) for code in seen},
            "names": list(self._lines),
        }
        self._tokens.flush()
        (self._folder / INDEX).write_text(json.dumps(index), encoding="utf-8")

    def _open_rows(self, headings: Sequence[Heading]) -> slice:
        """Register the contigs of a block; the rows it touches, the open one first (-1 where none is open)."""
        first = len(self._lines) - 1
        for heading in headings:
            earlier = self._lines.setdefault(heading.name, heading.line)
            if earlier != heading.line:
                raise InputFileError(
                    self._source,
                    heading.line,
                    problem=f"contig name {heading.name!r} occurs twice, first on line {earlier}",
                    hint="names (the first word after '>') must differ",
                )
        if len(self._lines) > len(self._counts):
            grown = np.zeros((2 * len(self._lines), 4), dtype=np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        return slice(first, len(self._lines))

    def _refuse_empty(self, first: int, last: int) -> None:
        """Every contig of rows first .. last (exclusive) is complete: it must hold a base."""
        empty = np.flatnonzero(self._counts[first:last, 0] == 0)
        if empty.size:
            name, line = list(self._lines.items())[first + int(empty[0])]
            raise InputFileError(
                self._source, line, expected=f"a sequence for contig {name!r}", found="none", hint="remove the header"
            )


class _RunFile:
    """Runs of True over consecutive blocks, written as (start, end) pairs of int64 as soon as they are closed."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._open: int | None = None
        self._at = 0
        self.count = 0

    def add(self, edges: npt.NDArray[np.int64], at: int, size: int) -> None:
        """Take in a block of `size` positions from `at` on, with the places in it where a run begins or ends."""
        self._at = at + size
        if size == 0 or (self._open is None and not edges.size):
            return
        edges = edges + at
        if self._open is not None:
            goes_on = edges.size > 0 and edges[0] == at
            edges = np.concatenate([[self._open], edges[1:] if goes_on else np.concatenate([[at], edges])])
        self._open = int(edges[-1]) if edges.size % 2 else None
        self._write(edges[: edges.size - edges.size % 2])

    def finish(self) -> None:
        """Close the run that reaches the end."""
        if self._open is not None:
            self._write(np.array([self._open, self._at]))
            self._open = None
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, edges: npt.NDArray[np.int64]) -> None:
        self.count += edges.size // 2
        self._file.write(edges.astype("<i8").tobytes())
