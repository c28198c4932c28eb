"""`surprise` through the command line: a bigWig that another program opens, and calls that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.untrained import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "run")


def test_a_bigwig_of_two_contigs(ask, fasta: Path, model: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("pyBigWig")
    pytest.importorskip("pybigtools")
    out = tmp_path / "loss.bw"
    answer = ask("surprise", fasta, "--model", model, "-o", out, "--bin", 50, "--device", "cpu", "--threads", 1)
    assert (answer.code, answer.out) == (0, f"{out}\n"), answer.err
    assert f"{out}: 109 bins of 50 bases" in answer.err
    file = reader.open(str(out))
    assert file.chroms() == {"one": 4000, "two": 1500}
    # The gap of 50 N in the first contig fills a bin, which is left out.
    assert [start for start, _, _ in file.intervals("one")] == [at for at in range(0, 4000, 50) if at != 2000]
    mean = file.stats("one", exact=True)[0]
    assert 1.5 < mean < 4
    text = tmp_path / "loss.bedgraph"
    assert ask("-q", "surprise", fasta, "--model", model, "-o", text, "--bin", 50, "--device", "cpu").err == ""
    rows = [line.split("\t") for line in text.read_text().splitlines()]
    by_hand = [float(value) for name, _, _, value in rows if name == "one"]
    assert sum(by_hand) / len(by_hand) == pytest.approx(mean, rel=1e-4)
    file.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "t.wig"], "expected a track's name to end in one of"),
        (["-o", "nothing/t.bw"], "no such folder"),
        (["-o", "t.bg", "--what", "los"], "unknown track 'los'; did you mean 'loss'"),
        (["-o", "t.bg", "--strand", "x"], "unknown strand"),
        (["-o", "t.bg", "--context", "0"], "expected 'contig' or a number such as 10k"),
        (["-o", "t.bg", "--context", "ten"], "found 'ten'"),
        (["-o", "t.bg", "--chroms", "three"], "no contig 'three'; there are 2, such as one, two"),
        (["-o", "t.bg", "--bin", "0"], "--bin"),
        (["-o", "t.bg", "--device", "cuda:77"], "cuda:77"),
        (["-o", "t.bg", "--model", "nowhere"], "nowhere: expected a run folder"),
    ],
)
def test_a_call_that_cannot_be_used(
    ask, fasta: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = ask("-q", "surprise", fasta, "--model", model, *arguments)
    assert answer.out == ""
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert answer.code in (1, 2)
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty file"),
        (">p\nMKTAYIAKQRQISFVKSHFSRQ\n", "protein"),
        (">n\n" + "N" * 300 + "\n", "nothing to write"),
    ],
)
def test_a_genome_that_cannot_be_used(ask, model: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.fa").write_text(text)
    answer = ask("-q", "surprise", tmp_path / "bad.fa", "--model", model, "-o", tmp_path / "t.bg")
    assert answer.code in (1, 2)
    *_, last = answer.err.splitlines()
    assert last.startswith("titans-seq: ")
    assert words in last
    assert not (tmp_path / "t.bg").exists()


def test_a_model_without_a_memory_has_a_loss_only(ask, fasta: Path, tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", "model.memory=none", "model.variant=mal")
    out = tmp_path / "t.bg"
    answer = ask("-q", "surprise", fasta, "--model", plain, "-o", out, "--what", "gain")
    assert (answer.code, out.exists()) == (2, False)
    assert "has no memory" in answer.err
    assert ask("-q", "surprise", fasta, "--model", plain, "-o", out).code == 0
