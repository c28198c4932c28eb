"""`train-classifier`, `classify` and `audit-splits` through the command line: a whole run, and input that is wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import polars
import pytest
from safetensors.torch import load_file

from titans_seq.errors import TitansError
from titans_seq.training.checkpoint import Progress
from titans_seq.training.classifier_fit import DevWatch

CHEAP = {"majority", "length only", "GC only", "k-mer LR", "one-hot LR"}
NETWORKS = {"small CNN", "random weights"}
MICRO = {
    "model.d_model": "16",
    "model.chunk_size": "4",
    "classifier.stride": "2",
    "classifier.parts": "4",
    "batches.size": "16",
    "evaluation.window": "4",
    "evaluation.cnn_epochs": "1",
    "budget.epochs": "3",
    "run.device": "cpu",
    "run.log_steps": "2",
}


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Arguments that make ``train-classifier`` a matter of seconds."""
    return ["--preset", "classifier-tiny", *(w for key, value in MICRO.items() for w in ("--set", f"{key}={value}"))]


def planted(count: int, *, seed: int) -> list[tuple[str, str]]:
    """Sequences of 30 to 40 bases; those of class 1 hold TATAAT at place 10, both are full of all letters."""
    random = np.random.default_rng(seed)
    rows = []
    for row in range(count):
        letters = random.choice(list("ACGT"), random.integers(30, 41))
        if row % 2:
            letters[10:16] = list("TATAAT")
        rows.append(("".join(letters), str(row % 2)))
    return rows


def table(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("name,sequence,label\n" + "".join(f"s{n},{s},{y}\n" for n, (s, y) in enumerate(rows)))
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("labelled")
    sizes = {"train": (160, 0), "dev": (40, 1), "test": (60, 2)}
    return {name: table(folder / f"{name}.csv", planted(n, seed=seed)) for name, (n, seed) in sizes.items()}


def test_a_whole_run_and_its_use(ask, tiny: list[str], sets: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    parts = ["--dev", sets["dev"], "--test", sets["test"]]
    answer = ask("train-classifier", sets["train"], *parts, *tiny, "--members", 2, "--out", run)
    assert answer.code == 0, answer.err
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.yaml", "run.json", "model.safetensors", "predictions.csv", "report.json", "report.html"}
    assert names >= {"member-0", "member-1", "small-cnn-0", "confusion.png", "precision_recall.png"}
    report = json.loads((run / "report.json").read_text())
    rows = {row["name"]: row for row in report["evaluation"]["rows"]}
    assert set(rows) == CHEAP | NETWORKS | {"carried", "reset", "off", "members together"}
    assert rows["carried"]["seeds"] == 2
    assert rows["carried"]["spread"]["mcc"] is not None
    assert rows["majority"]["scores"]["mcc"] == 0
    assert rows["one-hot LR"]["scores"]["accuracy"] > 0.9
    assert np.sum(report["evaluation"]["confusion"]) == 60
    assert all(name in answer.out for name in (*CHEAP, *NETWORKS, "carried", "AUPRC"))
    assert "The split: Nothing found" in answer.out
    assert (ask("report", run).out, ask("train-classifier", "--resume", "--out", run).out) == (answer.out, answer.out)
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2

    out = tmp_path / "answers.csv"
    used = ask("classify", sets["test"], "--model", run, "-o", out)
    assert (used.code, used.out) == (0, ""), used.err
    answers, kept = (list(csv.DictReader(path.read_text().splitlines())) for path in (out, run / "predictions.csv"))
    assert [row["name"] for row in answers] == [f"s{n}" for n in range(60)]
    assert [row["predicted"] for row in answers] == [row["predicted"] for row in kept]
    same = [float(a["p_1"]) - float(b["p_1"]) for a, b in zip(answers, kept, strict=True)]
    assert max(map(abs, same)) < 1e-4
    together = rows["members together"]["scores"]["accuracy"]
    assert np.mean([row["predicted"] == row["label"] for row in answers]) == pytest.approx(together)
    fasta = tmp_path / "new.fa"
    fasta.write_text(
        "".join(f">{row['name']}\r\n{s}\r\n" for row, (s, _) in zip(answers, planted(60, seed=2), strict=True))
    )
    frame = tmp_path / "answers.parquet"
    assert ask("classify", fasta, "--model", run, "-o", frame).code == 0
    assert polars.read_parquet(frame)["p_1"].to_list() == pytest.approx([float(r["p_1"]) for r in answers], abs=1e-5)
    assert ask("-q", "classify", fasta, "--model", run).out.startswith("name,predicted,p_0,p_1\n")


def test_a_run_that_broke_off_goes_on_to_the_same_model(
    ask, tiny: list[str], sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [
        sets["train"],
        "--test",
        sets["test"],
        *tiny,
        "--set",
        "run.checkpoint_steps=4",
        "--set",
        "evaluation.baselines=[majority]",
    ]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert ask("train-classifier", *plain, "--out", whole).code == 0
    asked = DevWatch.__call__

    def break_off(self: DevWatch, progress: Progress) -> bool:
        if progress.step == 15:
            raise TitansError("the power went")
        return asked(self, progress)

    with monkeypatch.context() as patch:
        patch.setattr(DevWatch, "__call__", break_off)
        broken = ask("train-classifier", *plain, "--out", cut)
    assert (broken.code, "the power went" in broken.err) == (1, True)
    assert json.loads((cut / "member-0" / "checkpoint" / "checkpoint.json").read_text())["progress"]["step"] == 12
    assert ask("train-classifier", "--resume", "--out", cut).code == 0
    first, second = (load_file(run / "model.safetensors") for run in (whole, cut))
    assert all(first[name].equal(second[name]) for name in first)
    scores = [json.loads((run / "report.json").read_text())["evaluation"]["rows"] for run in (whole, cut)]
    assert scores[0] == scores[1]
    other = table(tmp_path / "other.csv", planted(80, seed=9))
    changed = ask("train-classifier", other, "--resume", "--out", cut)
    assert changed.code == 2
    assert "trained on other sequences" in changed.err


def test_from_a_pretrained_run(
    ask, tiny: list[str], micro: list[str], sets: dict[str, Path], fasta: Path, tmp_path: Path
) -> None:
    base, run = tmp_path / "base", tmp_path / "run"
    assert ask("train-dna", fasta, *micro, "--steps", 2, "--out", base).code == 0
    answer = ask("train-classifier", sets["train"], *tiny, "--from", base, "--frozen", "--epochs", 1, "--members", 1,
                 "--reverse-complement", "equivariant", "--out", run)  # fmt: skip
    assert answer.code == 0, answer.err
    trained, before = load_file(run / "model.safetensors"), load_file(base / "model.safetensors")
    shared = [name for name in before if name.startswith("encoder.")]
    assert shared
    assert all(trained[f"0/{name}"].equal(before[name]) for name in shared)
    assert ask("classify", sets["test"], "--model", run).code == 0
    wrong = ask("-q", "classify", sets["test"], "--model", base)
    assert wrong.code == 2
    assert "no classes inside" in wrong.err


def test_an_audit(ask, sets: dict[str, Path], tmp_path: Path) -> None:
    clean = ask("-q", "audit-splits", sets["train"], "--test", sets["test"])
    assert clean.code == 0, clean.err
    assert "Nothing found" in clean.out
    copied = table(tmp_path / "copied.csv", [*planted(160, seed=0)[:30], *planted(30, seed=5)])
    report = json.loads(ask("audit-splits", sets["train"], "--test", copied, "--json").out)
    checks = {found["check"]: found for found in report["findings"]}
    assert checks["exact copies"]["share"] == 0.5
    assert "30 of 60 test sequences (50.0%) stand in the training part" in report["verdict"]
    same = ask("-q", "audit-splits", sets["train"], "--test", sets["train"])
    assert same.code == 0
    assert "Do not believe" in same.out


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("sequence,label\nACGT,1\nACG,1\n", [], "two classes"),
        ("seq,y\nACGT,1\n", [], "no column 'sequence'; there are 'seq', 'y'"),
        ("sequence,label\nACGT,1\nAC?T,0\n", [], "bad.csv, line 3"),
        ("sequence,label\nACGT,1\nAAA,0\nACGT,0\n", [], "bad.csv, line 4"),
        ("sequence,label\nACGT,1\nAAA,0\n", [], "too few"),
        ("sequence,label\nACGT,1\nAAA,0\n", ["--test", "bad.csv"], "also in the training part"),
        ("sequence,label\nACGT,1\nAAA,0\n", ["--positive", "2"], "unknown class '2'"),
        ("sequence,label\nACGT,1\nAAA,0\n", ["--set", "classifier.width=4"], "odd"),
        ("sequence,label\nACGT,1\nAAA,0\n", ["--set", "classifier.parst=4"], "did you mean 'classifier.parts'"),
        ("sequence,label\nACGT,1\nAAA,0\n", ["--from", "nowhere"], "nowhere"),
        ("", [], "empty file"),
    ],
)
def test_input_that_cannot_be_used(
    ask, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text(text)
    answer = ask("-q", "train-classifier", "bad.csv", *tiny, *arguments, "--out", "run")
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert not Path("run").exists()


def test_calls_that_cannot_be_used(ask, sets: dict[str, Path], tmp_path: Path) -> None:
    for arguments, words in (
        (["classify", sets["test"], "--model", tmp_path / "no"], "found neither"),
        (["train-classifier", sets["train"]], "give it as --out"),
        (["train-classifier", "--out", tmp_path / "x"], "found none"),
        (["audit-splits", sets["train"], "--label-column", "y"], "no column 'y'"),
    ):
        answer = ask("-q", *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert words in answer.err


def test_a_published_set_in_seconds(ask, tiny: list[str], shared_data: Path, tmp_path: Path) -> None:
    """UCI splice junctions, every ninth of them: three classes, and more than the largest of them is learned."""
    import gzip

    with gzip.open(shared_data / "classification" / "uci_splice.csv.gz", "rt") as file:
        lines = file.read().splitlines()[::9]
    source = tmp_path / "splice.csv"
    source.write_text("\n".join(lines) + "\n")
    answer = ask("train-classifier", source, "--columns", "label,name,sequence", *tiny, "--epochs", 10, "--out",
                 tmp_path / "run")  # fmt: skip
    assert answer.code == 0, answer.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    rows = {row["name"]: row["scores"] for row in report["evaluation"]["rows"]}
    assert report["classes"] == ["EI", "IE", "N"]
    assert rows["one-hot LR"]["accuracy"] > rows["majority"]["accuracy"] + 0.2
    assert rows["carried"]["accuracy"] > rows["majority"]["accuracy"] + 0.05
