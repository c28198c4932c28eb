"""`train-dna` through the command line: a whole run, going on with one, and input that cannot be used."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from titans_seq.training.metrics_log import REPEATABLE

BOTH = ("carried", "within", "reset", "off")


@pytest.fixture(scope="module")
def gff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("annotation") / "small.gff3"
    rows = [("one", "CDS", 3301, 3600), ("one", "rRNA", 3651, 3700), ("two", "CDS", 1301, 1400)]
    lines = [f"{seqid}\ttest\t{kind}\t{start}\t{end}\t.\t+\t.\tID=x{start}" for seqid, kind, start, end in rows]
    path.write_text("##gff-version 3\n" + "\n".join(lines) + "\n")
    return path


def numbers(run: Path) -> list[tuple[str, ...]]:
    with (run / "metrics.csv").open() as file:
        return [tuple(row)[:REPEATABLE] for row in csv.reader(file)][1:]


def test_a_whole_run(ask, micro: list[str], fasta: Path, gff: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    answer = ask("train-dna", fasta, *micro, "--steps", 8, "--out", run, "--annotation", gff)
    assert answer.code == 0, answer.err
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.yaml", "run.json", "metrics.csv", "model.safetensors", "report.json", "report.html"}
    assert names >= {"loss.png", "held_out.png", "memory.png", "checkpoint"}
    report = json.loads((run / "report.json").read_text())
    rows = {row["name"]: row for row in report["evaluation"]["rows"]}
    assert set(BOTH) <= rows.keys()
    assert all(1 < row["all"] < 2.6 for row in rows.values())
    assert report["evaluation"]["bases"] == 800 + 300
    assert report["evaluation"]["classes"] == {"intergenic": 650, "CDS": 400, "rRNA": 50}
    weighted = sum(rows["reset"]["classes"][name] * size for name, size in report["evaluation"]["classes"].items())
    assert weighted / 1100 == pytest.approx(rows["reset"]["all"])
    assert [row[0] for row in numbers(run)] == ["2", "4", "6", "8"]
    assert "titans_lmm, carried" in answer.out
    assert "one: 4,000 bases, 50 N" in answer.err
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")
    again = ask("report", run)
    assert (again.code, again.out) == (0, answer.out)
    assert json.loads(ask("report", run, "--json").out) == report
    finished = ask("train-dna", "--resume", "--out", run)
    assert finished.out == answer.out


def test_same_seed_same_numbers_and_other_seed_others(ask, micro: list[str], fasta: Path, tmp_path: Path) -> None:
    runs = {name: tmp_path / name for name in ("a", "b", "c")}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        answer = ask("train-dna", fasta, *micro, "--steps", 4, "--seed", seed, "--out", runs[name])
        assert answer.code == 0, answer.err
    assert numbers(runs["a"]) == numbers(runs["b"]) != numbers(runs["c"])
    first, second = (load_file(runs[name] / "model.safetensors") for name in ("a", "b"))
    assert all(first[key].equal(second[key]) for key in first)
    reports = [json.loads((runs[name] / "report.json").read_text())["evaluation"]["rows"] for name in ("a", "b")]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("variant", ["lmm", "mal"])
def test_without_a_memory_there_is_one_arm(ask, micro: list[str], fasta: Path, tmp_path: Path, variant: str) -> None:
    run = tmp_path / "run"
    answer = ask("train-dna", fasta, *micro, "--steps", 50, "--out", run, "--set", "model.memory=none", "--table-mb", 0,
                 "--set", f"model.variant={variant}")  # fmt: skip
    assert answer.code == 0, answer.err
    rows = json.loads((run / "report.json").read_text())["evaluation"]["rows"]
    assert [row["name"] for row in rows if row["group"] == "titans-seq"] == ["no memory"]


def test_resume_refuses_other_settings_and_genomes(ask, micro: list[str], fasta: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other.fa"
    other.write_text(">one\n" + "ACGT" * 500 + "\n")
    assert ask("train-dna", fasta, *micro, "--steps", 2, "--out", run).code == 0
    (run / "report.json").unlink()
    changed = ask("train-dna", "--resume", "--out", run, "--seed", 9)
    assert changed.code == 2
    assert "run.seed is 0 there and 9 now" in changed.err
    assert ask("train-dna", other, "--resume", "--out", run).code == 2
    missing = ask("train-dna", "--resume", "--out", tmp_path / "nothing")
    assert (missing.code, missing.out) == (2, "")
    existing = ask("train-dna", fasta, *micro, "--out", run)
    assert existing.code == 2
    assert "go on with it by --resume" in existing.err
    assert ask("train-dna", "--resume", "--out", run, "--set", "run.checkpoint_steps=3").code == 0


def zipped(text: str) -> bytes:
    return gzip.compress(text.encode())


FASTA = ">one\n" + "ACGTTGCA" * 400 + "\n"
BAD = {
    "missing": (None, "no such file"),
    "empty": (b"", ""),
    "protein": (b">p\nMKTAYIAKQRQISFVKSHFSRQ\n", "protein"),
    "fastq": (b"@r\nACGT\n+\nIIII\n", "FASTQ"),
    "cut gzip": (zipped(FASTA * 3)[:-20], ""),
    "duplicate": ((FASTA + FASTA).encode(), "one"),
    "no sequence": (b">one\n>two\nACGT\n", "one"),
    "only N": (b">one\n" + b"N" * 500 + b"\n", ""),
    "one base": (b">one\nA\n", ""),
    "text": (b"hello\n", ""),
    "name not utf-8": (b">\xff\xfe\nACGT\n", ""),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_genome_that_cannot_be_used(ask, micro: list[str], tmp_path: Path, kind: str) -> None:
    data, words = BAD[kind]
    path, run = tmp_path / ("bad.fa.gz" if kind == "cut gzip" else "bad.fa"), tmp_path / "run"
    if data is not None:
        path.write_bytes(data)
    answer = ask("-q", "train-dna", path, *micro, "--steps", 2, "--out", run)
    assert answer.code in (1, 2)
    assert answer.out == ""
    *warnings, last = answer.err.splitlines()
    assert all(line.startswith("warning: ") for line in warnings)
    assert last.startswith("titans-seq: ")
    assert words.lower() in last.lower()
    assert not run.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "dna-tny"], "did you mean 'dna-tiny'"),
        (["--preset", "mine.yaml"], "mine.yaml: no such file"),
        (["--set", "model.memory=titan_lmm"], "did you mean 'titans_lmm'"),
        (["--set", "modle.memory=none"], "did you mean 'model.memory'"),
        (["--valid-contigs", "three"], "three"),
        (["--valid-contigs", "one,two"], "nothing to train on"),
        (["--valid-fraction", "1.5"], "valid_fraction"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--precision", "fp8"], "run.precision"),
        (["--steps", "0"], "budget.steps"),
        (["--annotation", "missing.gff3"], "missing.gff3"),
        (["--out", "."], "."),
    ],
)
def test_a_call_that_cannot_be_used(
    ask, micro: list[str], fasta: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    run = tmp_path / "run"
    answer = ask("-q", "train-dna", fasta, *micro, "--out", run, *arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert not run.exists()
