"""Opening a classifier: what is said of a folder that holds none."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_seq.errors import InputFileError
from titans_seq.streaming.classifier import open_classifier


@pytest.mark.parametrize("pipeline", ["train_classifier", "train_dna", "train_series"])
def test_an_unfinished_run_is_finished_by_the_command_that_began_it(tmp_path: Path, pipeline: str) -> None:
    (tmp_path / "config.yaml").write_text(f"pipeline: {pipeline}\n")
    with pytest.raises(InputFileError, match="by the command that began it, with --resume") as error:
        open_classifier(tmp_path)
    assert "train-" not in str(error.value)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="found neither") as error:
        open_classifier(tmp_path / "none")
    assert "--resume" not in str(error.value)
