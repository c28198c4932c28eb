"""`titans-seq repeats` finds planted copies across contigs and strands, and the inverted repeat of a chloroplast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from titans_seq.cli.group import main
from titans_seq.genomics import decode, reverse_complement

REPO = Path(__file__).resolve().parents[2]


def called(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    return int(stopped.value.code or 0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.usefixtures("cache")
def test_planted_copies(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    a, b, c = (random.integers(0, 4, size).astype(np.uint8) for size in (900, 700, 500))
    b[100:300] = a[200:400]
    c[50:250] = reverse_complement(a[500:700])
    fasta, out = tmp_path / "g.fa", tmp_path / "r.bed"
    fasta.write_text("".join(f">{name}\n{decode(bases)}\n" for name, bases in (("a", a), ("b", b), ("c", c))))
    assert called("repeats", fasta, "-o", out) == 0
    found = [(row[0], int(row[1]), int(row[2]), row[5], row[6], int(row[7])) for row in rows(out)]
    assert [(chrom, strand, other) for chrom, _, _, strand, other, _ in found] == [("b", "+", "a"), ("c", "-", "a")]
    wanted = [(100, 300, 200), (50, 250, 500)]
    for (_, start, end, _, _, source), (first, last, from_) in zip(found, wanted, strict=True):
        assert max(abs(start - first), abs(end - last), abs(source - from_)) <= 3


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_the_inverted_repeat_of_a_chloroplast(tmp_path: Path) -> None:
    out = tmp_path / "r.bed"
    genome = REPO / "examples" / "data" / "NC_000932.gb.gz"
    assert called("repeats", genome, "-o", out, "--min-length", "1000") == 0
    (row,) = rows(out)
    assert row[:3] == ["NC_000932.1", "128214", "154478"]
    assert row[5:9] == ["-", "NC_000932.1", "84170", "110434"]


@pytest.mark.usefixtures("cache")
def test_a_table_that_is_too_small_says_how_much_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fasta = tmp_path / "g.fa"
    fasta.write_text(">a\n" + "ACGTTGCATC" * 5000 + "\n")
    assert called("repeats", fasta, "-o", tmp_path / "r.bed", "--table-mb", "0.5") == 2
    assert "need a table of" in capsys.readouterr().err
    assert not (tmp_path / "r.bed").exists()
