"""Open what a training run left: the task with its weights, ready to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from titans_seq.config import TrainDnaConfig, parse_config
from titans_seq.errors import InputFileError
from titans_seq.tasks import NextBase
from titans_seq.tasks.build import build_next_base
from titans_seq.tensor_files import load_tensors, load_weights, read_metadata

FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class DnaModel:
    """A trained next-base model.

    Attributes
    ----------
    task
        In evaluation mode, on the device asked for.
    config
        What it was trained with.
    path
        The file that the weights came from.
    """

    task: NextBase
    config: TrainDnaConfig
    path: Path


def model_file(path: Path) -> Path:
    """Give the weights' file of a run folder, or the path itself where it is a file already."""
    file = path / FILE if path.is_dir() else path
    if not file.exists():
        unfinished = (path / "config.yaml").exists()
        hint = f"finish it by the command that began it, with --resume --out {path}" if unfinished else ""
        raise InputFileError(path, problem=f"expected a run folder with {FILE}, or that file; found neither", hint=hint)
    return file


def open_dna_model(path: Path, *, device: torch.device | str = "cpu") -> DnaModel:
    """Read a run of ``titans-seq train-dna``.

    Raises
    ------
    InputFileError
        No such run, not finished, or not a model of ours.
    """
    file = model_file(path)
    text = read_metadata(file).get("config")
    if text is None:
        raise InputFileError(file, expected="weights written by titans-seq train-dna", found="no configuration inside")
    config = parse_config(TrainDnaConfig, text, source=str(file))
    task = build_next_base(config)
    load_weights(task, load_tensors(file), where=file)
    return DnaModel(task=task.to(device).eval(), config=config, path=file)
