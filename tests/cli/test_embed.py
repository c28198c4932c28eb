"""`embed` through the command line: every kind of output, and input or calls that cannot be used."""

from __future__ import annotations

import gzip
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.streaming.conftest import make_model
from titans_seq.streaming import PassageReader


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_model(folder)
    return folder


def test_windows_in_parquet_and_npy(ask, run: Path, fasta: Path, tmp_path: Path) -> None:
    common = ("embed", fasta, "--model", run, "--window", 1000, "--stride", 500, "--threads", 1)
    answer = ask(*common, "-o", tmp_path / "w.parquet")
    assert answer.code == 0, answer.err
    assert answer.out == f"{tmp_path}/w.parquet: 9 vectors of 16, 5,500 bases read\n"
    table = pl.read_parquet(tmp_path / "w.parquet")
    assert table.columns == ["chrom", "start", "end", "strand", "vector"]
    assert table.row(6)[:4] == ("one", 3000, 4000, "+")
    assert ask(*common, "-o", tmp_path / "w.npy").code == 0
    vectors = np.load(tmp_path / "w.npy")
    np.testing.assert_array_equal(table["vector"].to_numpy(), vectors)
    places = pl.read_csv(tmp_path / "w.tsv", separator="\t")
    assert places.rows() == table.drop("vector").rows()
    assert np.isfinite(vectors).all()


def test_bed_names_and_strands(ask, run: Path, fasta: Path, tmp_path: Path) -> None:
    bed = tmp_path / "genes.bed"
    bed.write_text("two\t10\t400\tsecond\t0\t-\none\t0\t99\tfirst\t0\t+\n")
    answer = ask("embed", fasta, "--model", run, "--regions", bed, "--strand", "region", "-o", tmp_path / "g.parquet")
    assert answer.code == 0, answer.err
    found = pl.read_parquet(tmp_path / "g.parquet").drop("vector").rows()
    assert found == [("two", 10, 400, "-", "second"), ("one", 0, 99, "+", "first")]
    answer = ask("embed", fasta, "--model", run, "--per-sequence", "--strand", "both", "-o", tmp_path / "s.parquet",
                 "--chroms", "two")  # fmt: skip
    assert answer.code == 0, answer.err
    assert pl.read_parquet(tmp_path / "s.parquet").drop("vector").rows() == [("two", 0, 1500, ".")]


def test_a_long_run_says_how_long_before_it_begins(ask, run: Path, fasta: Path, tmp_path: Path, monkeypatch) -> None:
    pipeline = import_module("titans_seq.pipelines.embed")
    monkeypatch.setattr(pipeline, "PROBED", 0)
    monkeypatch.setattr(pipeline, "seconds_ahead", lambda job, *, threads: (600.0, 1000.0 * threads))
    answer = ask("embed", fasta, "--model", run, "-o", tmp_path / "w.npy", "--threads", 2)
    assert answer.code == 0
    wanted = (
        "5,500 bases to read at about 2,000 a second on 2 thread(s): about 10 minutes; it can be stopped and goes on"
    )
    assert wanted in answer.err
    monkeypatch.setattr(pipeline, "seconds_ahead", lambda job, *, threads: (100.0, 1.0))
    assert "minutes" not in ask("embed", fasta, "--model", run, "-o", tmp_path / "w.npy", "--threads", 1).err


def test_h5ad(ask, run: Path, fasta: Path, tmp_path: Path) -> None:
    try:
        import anndata
    except ImportError:
        answer = ask("embed", fasta, "--model", run, "-o", tmp_path / "w.h5ad")
        assert (answer.code, answer.err) == (
            2, "titans-seq: .h5ad needs anndata; pip install anndata, or write .parquet or .npy\n"
        )  # fmt: skip
        return
    assert ask("embed", fasta, "--model", run, "-o", tmp_path / "w.h5ad").code == 0
    found = anndata.read_h5ad(tmp_path / "w.h5ad")
    assert found.X.shape == (2, 16)
    assert found.obs["chrom"].tolist() == ["one", "two"]


FASTA = ">one\n" + "ACGTTGCA" * 400 + "\n"
BAD_GENOMES = {
    "missing": (None, "no such file"),
    "empty": (b"", "bad.fa"),
    "protein": (b">p\nMKTAYIAKQRQISFVKSHFSRQ\n", "protein"),
    "cut gzip": (gzip.compress(FASTA.encode() * 3)[:-20], "bad.fa.gz"),
}


@pytest.mark.parametrize("kind", BAD_GENOMES)
def test_a_genome_that_cannot_be_used(ask, run: Path, tmp_path: Path, kind: str) -> None:
    data, words = BAD_GENOMES[kind]
    path, folder = tmp_path / ("bad.fa.gz" if kind == "cut gzip" else "bad.fa"), tmp_path / "out"
    folder.mkdir()
    if data is not None:
        path.write_bytes(data)
    answer = ask("embed", path, "--model", run, "-o", folder / "w.parquet")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert words.lower() in answer.err.lower()
    assert list(folder.iterdir()) == []


BED = {
    "beyond": ("two\t0\t1501\n", "x.bed, line 1: two:0-1501 lies beyond the contig's end at 1500"),
    "unknown": ("two\t0\t15\nchr2\t0\t9\n", "x.bed, line 2: no contig 'chr2'; there are 2, such as one, two"),
    "empty": ("", "expected intervals (chrom, start, end), found none"),
}


@pytest.mark.parametrize("kind", BED)
def test_a_bed_that_cannot_be_used(ask, run: Path, fasta: Path, tmp_path: Path, kind: str) -> None:
    bed, folder = tmp_path / "x.bed", tmp_path / "out"
    folder.mkdir()
    bed.write_text(BED[kind][0])
    answer = ask("-q", "embed", fasta, "--model", run, "--regions", bed, "-o", folder / "w.parquet")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert BED[kind][1] in answer.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "w.txt"], "unknown kind of output file '.txt'; known: .h5ad, .npy, .parquet"),
        (["-o", "gone/w.npy"], "no such folder to write in; create"),
        (["-o", "{tmp}/w.npy", "--model", "gone"], "gone: expected a run folder"),
        (["-o", "{tmp}/w.npy", "--pool", "meen"], "did you mean 'mean'"),
        (["-o", "{tmp}/w.npy", "--strand", "x"], "unknown strand 'x'"),
        (["-o", "{tmp}/w.npy", "--layer", "5"], "expected a layer from 0 to 2"),
        (["-o", "{tmp}/w.npy", "--context", "10q"], "expected a context of 'contig' or a number of bases"),
        (["-o", "{tmp}/w.npy", "--chroms", "three"], "no contig 'three'; there are 2, such as one, two"),
        (["-o", "{tmp}/w.npy", "--device", "cuda:99"], "cuda:99"),
        (["-o", "{tmp}/w.npy", "--window", "5", "--per-sequence"], "expected one of --regions, --per-sequence"),
        (["-o", "{tmp}/w.npy", "--stride", "5", "--per-sequence"], "--stride belongs to --window"),
    ],
)
def test_a_call_that_cannot_be_used(
    ask, run: Path, fasta: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    given = [word.replace("{tmp}", str(tmp_path)) for word in arguments]
    model = [] if "--model" in given else ["--model", str(run)]
    answer = ask("-q", "embed", fasta, *model, *given)
    assert answer.code in (1, 2)
    assert answer.out == ""
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_folder_that_cannot_be_written(ask, run: Path, fasta: Path, tmp_path: Path, monkeypatch) -> None:
    """Root may write anywhere, so the folder only says that it may not be written."""
    import os

    folder = tmp_path / "locked"
    folder.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    answer = ask("-q", "embed", fasta, "--model", run, "-o", folder / "w.npy")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"titans-seq: {folder}/w.npy: cannot be written (no permission in {folder})\n"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["embed", "surprise"])
def test_interrupted_it_says_how_to_go_on(
    ask, run: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    step, steps = PassageReader.step, []

    def interrupted(self: PassageReader) -> object:
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return step(self)

    out = tmp_path / ("w.npy" if command == "embed" else "t.bedgraph")
    given = ("-q", command, fasta, "--model", run, "-o", out, "--threads", 1, "--device", "cpu")
    monkeypatch.setattr(PassageReader, "step", interrupted)
    answer = ask(*given)
    assert (answer.code, answer.out, out.exists()) == (130, "", False)
    wanted = "titans-seq: interrupted; the same command goes on where it was, less a minute at most"
    assert answer.err.strip() == wanted
    assert ask(*given).code == 0
    assert out.exists()
