"""Early stopping keeps the best weights and survives a kill; prediction keeps the order whatever the lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from titans_seq.genomics.labelled import LabelledSequences
from titans_seq.training import classifier_fit
from titans_seq.training.checkpoint import Progress
from titans_seq.training.classifier_fit import DevWatch, predict

CPU = torch.device("cpu")


def numbered(lengths: list[int]) -> LabelledSequences:
    count, zeros = len(lengths), np.zeros(len(lengths), dtype=np.int64)
    tokens = np.concatenate([np.full(length, place % 4, dtype=np.uint8) for place, length in enumerate(lengths)])
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    return LabelledSequences(tokens, offsets, zeros, ("a", "b"), ("",) * count, ("x",), zeros, zeros)


class Answers(nn.Module):
    """Says the first base and the length of each row, or one probability for all."""

    def __init__(self) -> None:
        super().__init__()
        self.chance = nn.Parameter(torch.tensor(0.5))
        self.calls: list[tuple[int, int]] = []

    def probabilities(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        self.calls.append(tuple(tokens.shape))  # type: ignore[arg-type]
        if float(self.chance.detach()) < 0:
            return torch.stack([tokens[:, 0].float(), lengths.float()], dim=1)
        return self.chance.detach().expand(len(tokens)).unsqueeze(1).repeat(1, 2)


def test_predictions_stand_in_the_order_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_fit, "_MOST_BASES", 64)
    lengths = [30, 2, 100, 5, 5, 17, 64, 1]
    task = Answers()
    task.chance.data.fill_(-1)
    found = predict(task, numbered(lengths), rows=3, device=CPU)
    assert found[:, 1].tolist() == lengths
    assert found[:, 0].tolist() == [place % 4 for place in range(8)]
    assert all(rows * width <= 64 or rows == 1 for rows, width in task.calls)


def watch(task: nn.Module, folder: Path) -> DevWatch:
    return DevWatch(task, numbered([5, 6]), folder=folder, pass_steps=10, patience=2, rows=8, device=CPU)


def test_it_stops_when_nothing_got_better_and_the_best_comes_back(tmp_path: Path) -> None:
    task = Answers()
    enough = watch(task, tmp_path)
    said = []
    for number, chance in enumerate([0.3, 0.6, 0.5, 0.4, 0.9], start=1):
        task.chance.data.fill_(chance)
        assert not enough(Progress(step=10 * number - 3))  # within a pass nothing is asked
        if number == 4:
            enough = watch(task, tmp_path)  # as after a kill: all it knows lies in the file
        said.append(enough(Progress(step=10 * number)))
        if said[-1]:
            break
    assert said == [False, False, False, True]
    enough.restore(Progress(step=40))
    assert float(task.chance.detach()) == pytest.approx(0.6)
    assert enough.best()[1] == 20


def test_a_training_shorter_than_a_pass_keeps_its_last_weights(tmp_path: Path) -> None:
    task = Answers()
    enough = watch(task, tmp_path)
    assert not enough(Progress(step=4))
    task.chance.data.fill_(0.7)
    enough.restore(Progress(step=4))
    assert float(task.chance.detach()) == pytest.approx(0.7)
    assert (tmp_path / classifier_fit.BEST).exists()
