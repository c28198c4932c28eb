"""Windows, whole contigs and BED files as columns; every bad line with its number."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from titans_seq.errors import InputFileError, RangeError
from titans_seq.genomics import Genome
from titans_seq.genomics.bed import read_bed
from titans_seq.genomics.intervals import whole_contigs, windows

Make = Callable[[dict[str, str]], Genome]


@pytest.fixture
def genome(genome_of: Make) -> Genome:
    return genome_of({"chr1": "A" * 10, "chr2": "C" * 6, "chr3": "G"})


def test_windows_reach_the_end_once(genome: Genome) -> None:
    found = windows(genome, genome.names, window=6, stride=3)
    rows = list(zip(found.contig.tolist(), found.start.tolist(), found.end.tolist(), strict=True))
    assert rows == [(0, 0, 6), (0, 3, 9), (0, 6, 10), (1, 0, 6), (2, 0, 1)]
    apart = windows(genome, ["chr1"], window=2, stride=5)
    assert list(zip(apart.start.tolist(), apart.end.tolist(), strict=True)) == [(0, 2), (5, 7)]
    with pytest.raises(RangeError, match="at least 1, found 0 and 1"):
        windows(genome, ["chr1"], window=0, stride=1)


def test_whole_contigs(genome: Genome) -> None:
    found = whole_contigs(genome, ["chr3", "chr1"])
    assert found.contig.tolist() == [2, 0]
    assert found.end.tolist() == [1, 10]


BED = """track name=x
# comment
chr2\t0\t6\tb\t0\t-
chr1\t3\t10\t\t0\t+
"""


@pytest.mark.parametrize("packed", [False, True])
def test_a_bed_file_keeps_its_order(genome: Genome, tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x.bed"
    path.write_bytes(gzip.compress(BED.encode()) if packed else BED.encode())
    found = read_bed(path, genome)
    assert found.contig.tolist() == [1, 0]
    assert found.start.tolist() == [0, 3]
    assert found.strand.tolist() == [-1, 1]
    assert found.names == ("b", "")
    assert found.take(np.array([1])).names == ("",)
    assert found.checksum() != found.take(np.array([1, 0])).checksum()


def test_three_columns_parted_by_blanks(genome: Genome, tmp_path: Path) -> None:
    path = tmp_path / "x.bed"
    path.write_text("chr1 0 4\r\n\r\nchr1   4 9\r\n")
    found = read_bed(path, genome)
    assert found.end.tolist() == [4, 9]
    assert found.names is None
    assert found.strand.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chr1\t0\t11\n", r"x\.bed, line 1: chr1:0-11 lies beyond the contig's end at 10"),
        ("chr1\t0\t4\n1\t0\t4\n", r"line 2: no contig '1'; there are 3, such as chr1"),
        ("chr1\t4\t4\n", r"line 1: expected 0 <= start < end, found 4 \.\. 4"),
        ("chr1\t-1\t4\n", r"found -1 \.\. 4"),
        ("chr1\ta\t4\n", r"expected whole numbers as start and end, found 'a' and '4'"),
        ("chr1\t1\n", r"expected chrom, start and end, found 2 column"),
        ("chr1\t1\t4\tn\t0\tx\n", r"expected \+, - or \. as strand"),
        ("# nothing\n", r"expected intervals \(chrom, start, end\), found none"),
    ],
)
def test_a_bad_line_is_named(genome: Genome, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.bed"
    path.write_text(text)
    with pytest.raises(InputFileError, match=words):
        read_bed(path, genome)


def test_a_file_that_cannot_be_read(genome: Genome, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        read_bed(tmp_path / "gone.bed", genome)
    cut = tmp_path / "cut.bed.gz"
    cut.write_bytes(gzip.compress(BED.encode() * 50)[:-12])
    with pytest.raises(InputFileError, match=r"cut\.bed\.gz: expected a BED file"):
        read_bed(cut, genome)
