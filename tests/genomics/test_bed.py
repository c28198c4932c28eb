"""BED files: what is read, and which line is at fault."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from titans_seq.errors import InputFileError
from titans_seq.genomics import open_genome
from titans_seq.genomics.bed import BedRow, read_bed

TEXT = "track name=x\n# a comment\nc1\t2\t5\n\nc1 0 9 geneA 0 -\r\nc2\t1\t4\tb\t7\t+\textra\n"
ROWS = [BedRow("c1", 2, 5, "", "."), BedRow("c1", 0, 9, "geneA", "-"), BedRow("c2", 1, 4, "b", "+")]


def test_rows_plain_and_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.bed").write_text(TEXT)
    (tmp_path / "a.bed.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert read_bed(tmp_path / "a.bed") == read_bed(tmp_path / "a.bed.gz") == ROWS


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("c1\t5", "line 2: expected contig, start and end, found 2"),
        ("c1\tx\t9", "line 2: expected start and end as whole numbers"),
        ("c1\t9\t9", r"line 2: expected 0 <= start < end, found 9 \.\. 9"),
        ("c1\t0\t9\tn\t0\tplus", "line 2: expected \\+, - or . as strand, found 'plus'"),
        ("c1\t0\t11", "line 2: contig 'c1' has bases 0 to 10, asked for 0 to 11"),
        ("c3\t0\t1", "line 2: no contig 'c3'; there are 1, such as c1"),
    ],
)
def test_the_line_at_fault_is_named(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "g.fa").write_text(">c1\nACGTACGTAC\n")
    genome = open_genome(tmp_path / "g.fa", cache_dir=tmp_path / "cache")
    (tmp_path / "a.bed").write_text(f"c1\t0\t10\n{line}\n")
    with pytest.raises(InputFileError, match=words):
        read_bed(tmp_path / "a.bed", genome=genome)


def test_a_file_without_intervals(tmp_path: Path) -> None:
    (tmp_path / "a.bed").write_text("# nothing\n")
    with pytest.raises(InputFileError, match="expected intervals, found none"):
        read_bed(tmp_path / "a.bed")
