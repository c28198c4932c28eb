"""Open what a training of a classifier left: its members with their weights, ready to predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from titans_seq.config import TrainClassifierConfig, parse_config
from titans_seq.errors import InputFileError
from titans_seq.streaming.model import model_file
from titans_seq.tasks.build_classifier import build_classifier
from titans_seq.tasks.classify import SequenceClassifier
from titans_seq.tensor_files import load_tensors, load_weights, read_metadata


@dataclass(frozen=True, slots=True)
class Classifier:
    """A trained classifier.

    Attributes
    ----------
    members
        In evaluation mode; their probabilities are averaged.
    classes
        Names in the order of the outputs.
    config
        What it was trained with.
    """

    members: tuple[SequenceClassifier, ...]
    classes: tuple[str, ...]
    config: TrainClassifierConfig

    def probabilities(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Predict (B, classes) from tokens (B, L) and lengths (B,)."""
        return torch.stack([member.probabilities(tokens, lengths) for member in self.members]).mean(0)


def open_classifier(path: Path, *, device: torch.device | str = "cpu") -> Classifier:
    """Read a run of ``titans-seq train-classifier``.

    Raises
    ------
    InputFileError
        No such run, not finished, or another kind of model.
    """
    file = model_file(path)
    words = read_metadata(file)
    if "classes" not in words or "config" not in words:
        raise InputFileError(
            file, expected="a model of titans-seq train-classifier", found="no classes inside",
            hint="another command trained it",
        )  # fmt: skip
    config = parse_config(TrainClassifierConfig, words["config"], source=str(file))
    classes = tuple(words["classes"].split("\n"))
    tensors = load_tensors(file)
    members = []
    for number in range(config.classifier.members):
        own = {name.removeprefix(f"{number}/"): t for name, t in tensors.items() if name.startswith(f"{number}/")}
        task = build_classifier(config, n_classes=len(classes))
        load_weights(task, own, where=file)
        members.append(task.to(device).eval())
    return Classifier(tuple(members), classes, config)
