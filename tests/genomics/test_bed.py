"""BED files: what is read, and which line is at fault."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from titans_seq.errors import InputFileError
from titans_seq.genomics import Genome, open_genome
from titans_seq.genomics.bed import read_bed

TEXT = "track name=x\n# a comment\nc1\t2\t5\n\nc1 0 9 geneA 0 -\r\nc2\t1\t4\tb\t7\t+\textra\n"


def opened(tmp_path: Path) -> Genome:
    (tmp_path / "g.fa").write_text(">c1\nACGTACGTAC\n>c2\nACGTA\n")
    return open_genome(tmp_path / "g.fa", cache_dir=tmp_path / "cache")


def test_rows_plain_and_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.bed").write_text(TEXT)
    (tmp_path / "a.bed.gz").write_bytes(gzip.compress(TEXT.encode()))
    for name in ("a.bed", "a.bed.gz"):
        found = read_bed(tmp_path / name, opened(tmp_path))
        assert found.contig.tolist() == [0, 0, 1]
        assert found.start.tolist() == [2, 0, 1]
        assert found.end.tolist() == [5, 9, 4]
        assert found.strand.tolist() == [0, -1, 1]
        assert found.names == ("", "geneA", "b")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("c1\t5", "line 2: expected chrom, start and end, found 2"),
        ("c1\tx\t9", "line 2: expected whole numbers as start and end"),
        ("c1\t9\t9", r"line 2: expected 0 <= start < end, found 9 \.\. 9"),
        ("c1\t0\t9\tn\t0\tplus", "line 2: expected \\+, - or . as strand \\(column 6\\), found 'plus'"),
        ("c1\t0\t11", "line 2: c1:0-11 lies beyond the contig's end at 10"),
        ("c3\t0\t1", "line 2: no contig 'c3'; there are 2, such as c1"),
    ],
)
def test_the_line_at_fault_is_named(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "a.bed").write_text(f"c1\t0\t10\n{line}\n")
    with pytest.raises(InputFileError, match=words):
        read_bed(tmp_path / "a.bed", opened(tmp_path))


def test_a_file_without_intervals(tmp_path: Path) -> None:
    (tmp_path / "a.bed").write_text("# nothing\n")
    with pytest.raises(InputFileError, match=r"expected intervals .*found none"):
        read_bed(tmp_path / "a.bed", opened(tmp_path))
