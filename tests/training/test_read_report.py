"""What `read_report` says of a folder without a report, and a full disk of a run that has a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_seq.errors import InputFileError, OutputError
from titans_seq.training.report import read_report
from titans_seq.training.run_folder import removed_if_barren


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("# a header\npipeline: train_dna\nmodel: {}\n", "not finished; titans-seq train-dna --resume --out"),
        ("pipeline: train_regions\n", "not finished; titans-seq train-regions --resume --out"),
        ("pipeline: train_classifier\n", "not finished; titans-seq train-classifier --resume --out"),
        ("pipeline: train_series\n", "not finished; run it again"),
        ("something: else\n", "no run of titans-seq"),
        (None, "no run of titans-seq"),
    ],
)
def test_the_hint_names_the_command_of_the_run(tmp_path: Path, config: str | None, words: str) -> None:
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(InputFileError, match=words):
        read_report(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"no such run folder.*titans-seq train-\.\.\."):
        read_report(tmp_path / "none")


def test_a_full_disk_says_resume_only_where_there_is_a_checkpoint(tmp_path: Path) -> None:
    def fill(run: Path) -> None:
        with removed_if_barren(run):
            raise OutputError("x: the disk is full; free some space and run the same command again")

    barren, trained = tmp_path / "barren", tmp_path / "trained"
    barren.mkdir()
    (trained / "checkpoint").mkdir(parents=True)
    (trained / "checkpoint" / "checkpoint.json").write_text("{}")
    with pytest.raises(OutputError, match=r"command again$"):
        fill(barren)
    assert not barren.exists()
    with pytest.raises(OutputError, match=f"again, with --resume --out {trained}"):
        fill(trained)
    assert trained.exists()
