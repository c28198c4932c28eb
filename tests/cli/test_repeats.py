"""`titans-seq repeats` finds planted copies across contigs and strands, and the inverted repeat of a chloroplast."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from titans_seq.cli.group import main
from titans_seq.genomics import decode, reverse_complement
from titans_seq.genomics.alphabet import N_TOKEN, Tokens

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


def new_bases(contigs: list[Tokens], seed: int) -> list[list[float]]:
    """The definition, by a set of all k-mers and their reverse complements; NaN where unknown."""
    seen: set[bytes] = set()
    found = []
    for tokens in contigs:
        new = np.ones(tokens.size, dtype=np.float64)
        for at in range(tokens.size - seed + 1):
            kmer = tokens[at : at + seed]
            if (kmer == N_TOKEN).any():
                continue
            if kmer.tobytes() in seen:
                new[at : at + seed] = 0
            seen |= {kmer.tobytes(), reverse_complement(kmer).tobytes()}
        found.append(np.where(tokens == N_TOKEN, np.nan, new).tolist())
    return found


@pytest.mark.usefixtures("cache")
def test_novelty_is_that_of_the_definition_in_another_programs_eyes(tmp_path: Path) -> None:
    reader = pytest.importorskip("pyBigWig")
    pytest.importorskip("pybigtools")
    random = np.random.default_rng(3)
    a, b = (random.integers(0, 4, size).astype(np.uint8) for size in (70_000, 9_000))
    a[66_000:68_000] = a[1_000:3_000]  # across the border of two pieces of the search is 65,536
    a[65_500:65_600] = reverse_complement(a[200:300])
    b[100:1_900] = reverse_complement(a[30_000:31_800])
    b[5_000:8_000] = a[9_000:12_000]
    b[range(5_000, 8_000, 37)] ^= 1
    b[1_000:1_050] = b[5_500] = N_TOKEN
    b[8_990:] = a[:10]  # ten bases are no copy
    wanted = new_bases([a, b], 24)
    assert 0 < np.nanmean(wanted[1]) < 1
    fasta, out, track = tmp_path / "g.fa", tmp_path / "r.bed", tmp_path / "n.bw"
    fasta.write_text("".join(f">{name}\n{decode(bases)}\n" for name, bases in (("a", a), ("b", b))))
    assert called("repeats", fasta, "-o", out, "--novelty", track, "--bin", "1") == 0
    file = reader.open(str(track))
    assert file.chroms() == {"a": 70_000, "b": 9_000}
    for name, bases in zip("ab", wanted, strict=True):
        np.testing.assert_array_equal(file.values(name, 0, len(bases)), bases)
    file.close()
    text = tmp_path / "n.bedgraph"
    assert called("repeats", fasta, "-o", out, "--novelty", text, "--chroms", "b", "--bin", "50") == 0
    means = [float(row[3]) for row in rows(text)]
    alone = np.array(new_bases([b], 24)[0]).reshape(-1, 50)
    np.testing.assert_allclose(means, [np.nanmean(part) for part in alone if not np.isnan(part).all()], rtol=1e-5)


@pytest.mark.parametrize(
    ("track", "words", "code"),
    [("n.wig", "expected a track's name to end in one of", 2), ("nowhere/n.bw", "no such folder to write in", 1)],
)
@pytest.mark.usefixtures("cache")
def test_a_track_that_cannot_be_written_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], track: str, words: str, code: int
) -> None:
    fasta = tmp_path / "g.fa"
    fasta.write_text(">a\n" + "ACGTTGCATC" * 50 + "\n")
    assert called("repeats", fasta, "-o", tmp_path / "r.bed", "--novelty", tmp_path / track) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r.bed").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_the_inverted_repeat_of_a_chloroplast(tmp_path: Path) -> None:
    out, track = tmp_path / "r.bed", tmp_path / "n.bedgraph.gz"
    genome = REPO / "examples" / "data" / "NC_000932.gb.gz"
    assert called("repeats", genome, "-o", out, "--min-length", "1000", "--novelty", track, "--bin", "1") == 0
    (row,) = rows(out)
    assert row[:3] == ["NC_000932.1", "128214", "154478"]
    assert row[5:9] == ["-", "NC_000932.1", "84170", "110434"]
    new = np.array([float(line.split("\t")[3]) for line in gzip.decompress(track.read_bytes()).decode().splitlines()])
    assert new.size == 154478
    assert not new[128214:].any()
    assert new[:128214].mean() > 0.98


@pytest.mark.usefixtures("cache")
def test_a_table_that_is_too_small_says_how_much_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fasta = tmp_path / "g.fa"
    fasta.write_text(">a\n" + "ACGTTGCATC" * 5000 + "\n")
    assert called("repeats", fasta, "-o", tmp_path / "r.bed", "--table-mb", "0.5") == 2
    assert "need a table of" in capsys.readouterr().err
    assert not (tmp_path / "r.bed").exists()
