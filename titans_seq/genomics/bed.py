"""BED files: intervals of contigs, 0-based half-open as they stand in the file; plain or gzip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from titans_seq.errors import InputFileError, TitansError
from titans_seq.genomics.genome import Genome
from titans_seq.genomics.sources import Source

_SKIPPED = ("#", "track", "browser")


class BedRow(NamedTuple):
    """One interval; ``strand`` is ``+``, ``-`` or ``.`` and ``name`` is empty where the file has none."""

    contig: str
    start: int
    end: int
    name: str
    strand: str


def read_bed(path: str | os.PathLike[str], *, genome: Genome | None = None) -> list[BedRow]:
    """Read all intervals of a BED file, in file order.

    ``chr1  10  20  geneA  0  -`` is ``BedRow("chr1", 10, 20, "geneA", "-")``; three columns are enough.

    Parameters
    ----------
    genome
        Where given, every interval must lie on one of its contigs.

    Raises
    ------
    InputFileError
        With the line: too few columns, coordinates that are no numbers or run backwards, an unknown strand, a contig
        that is not in ``genome`` or ends earlier; or a file without any interval.
    """
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.startswith(_SKIPPED):
            continue
        row = _row(path, number, line)
        if genome is not None:
            try:
                genome.tokens(row.contig, row.start, row.end)
            except TitansError as error:
                raise InputFileError(path, number, problem=str(error)) from None
        rows.append(row)
    if not rows:
        raise InputFileError(path, expected="intervals", found="none")
    return rows


def _row(path: str | os.PathLike[str], number: int, line: str) -> BedRow:
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) < 3:
        raise InputFileError(path, number, expected="contig, start and end", found=f"{len(words)} column(s)")
    try:
        start, end = int(words[1]), int(words[2])
    except ValueError:
        raise InputFileError(path, number, expected="start and end as whole numbers", found=line.strip()) from None
    if not 0 <= start < end:
        raise InputFileError(path, number, expected="0 <= start < end", found=f"{start} .. {end}")
    strand = words[5].strip() if len(words) > 5 else "."
    if strand not in ("+", "-", "."):
        raise InputFileError(path, number, expected="+, - or . as strand", found=repr(strand))
    return BedRow(words[0], start, end, words[3].strip() if len(words) > 3 else "", strand)


def _lines(path: str | os.PathLike[str]) -> Iterator[str]:
    held = b""
    for block in Source(path).blocks():
        *whole, held = (held + block).split(b"\n")
        yield from (line.rstrip(b"\r").decode("utf-8", "replace") for line in whole)
    if held:
        yield held.rstrip(b"\r").decode("utf-8", "replace")
