"""BED files: 3 to 6 (or more) columns, plain or gzip, checked against the genome line by line.

Coordinates are 0-based half-open in the file as everywhere here. Columns may be parted by tabs, or by blanks where a
line has no tab; ``track``, ``browser`` and ``#`` lines and empty ones are left out.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from titans_seq.errors import InputFileError
from titans_seq.genomics.genome import Genome, unknown_contig
from titans_seq.genomics.intervals import Intervals

_STRANDS = {"+": 1, "-": -1, ".": 0, "": 0}


def read_bed(path: Path, genome: Genome) -> Intervals:
    """Read a BED file, in its order.

    Raises
    ------
    InputFileError
        No such file, a damaged gzip stream, no intervals; or a line with too few columns, a contig that the genome does
        not have, coordinates that are no numbers, start >= end, an end beyond the contig's, another strand than + - .
    """
    contigs: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    strands: list[int] = []
    names: list[str] = []
    for line, text in _lines(path):
        fields = [field.strip() for field in text.split("\t")] if "\t" in text else text.split()
        contig, start, end = _place(path, line, fields, genome)
        strand = fields[5] if len(fields) > 5 else "."
        if strand not in _STRANDS:
            raise InputFileError(path, line, expected="+, - or . as strand (column 6)", found=repr(strand))
        contigs.append(contig)
        starts.append(start)
        ends.append(end)
        strands.append(_STRANDS[strand])
        names.append(fields[3] if len(fields) > 3 else "")
    if not contigs:
        raise InputFileError(path, expected="intervals (chrom, start, end)", found="none")
    return Intervals(
        contig=np.array(contigs, dtype=np.int32),
        start=np.array(starts, dtype=np.int64),
        end=np.array(ends, dtype=np.int64),
        strand=np.array(strands, dtype=np.int8),
        names=tuple(names) if any(names) else None,
    )


def _place(path: Path, line: int, fields: list[str], genome: Genome) -> tuple[int, int, int]:
    """Number of the contig, start and end, checked."""
    if len(fields) < 3:
        raise InputFileError(path, line, expected="chrom, start and end", found=f"{len(fields)} column(s)")
    name = fields[0]
    if name not in genome:
        raise InputFileError(path, line, problem=unknown_contig(name, genome.names))
    try:
        start, end = int(fields[1]), int(fields[2])
    except ValueError:
        found = f"{fields[1]!r} and {fields[2]!r}"
        raise InputFileError(path, line, expected="whole numbers as start and end", found=found) from None
    if not 0 <= start < end:
        raise InputFileError(path, line, expected="0 <= start < end", found=f"{start} .. {end}")
    length = genome.contig(name).length
    if end > length:
        raise InputFileError(path, line, problem=f"{name}:{start}-{end} lies beyond the contig's end at {length}")
    return genome.number(name), start, end


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that holds an interval."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as stream:
            for number, text in enumerate(stream, 1):
                text = text.rstrip("\r\n")
                if text.strip() and not text.startswith(("#", "track", "browser")):
                    yield number, text
    except FileNotFoundError:
        raise InputFileError(path, problem="no such file") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputFileError(path, expected="a BED file", found=str(error)) from None
