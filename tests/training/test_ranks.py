"""What is one process's share of rows and of a state, and back; the messages themselves are tested by a job of two."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from titans_seq.errors import ConfigError
from titans_seq.training.ranks import OwnRows, Ranks


@dataclass(frozen=True)
class Piece:
    tokens: np.ndarray
    reset: np.ndarray
    name: str = "a"


class Endless:
    epoch = 3

    def __next__(self) -> Piece:
        return Piece(np.arange(8).reshape(4, 2), np.zeros(4, dtype=bool))

    def state_dict(self) -> dict[str, Any]:
        return {"at": 1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state == {"at": 1}


def rank(number: int, world: int) -> Ranks:
    return Ranks(SimpleNamespace(global_rank=number, world_size=world))  # type: ignore[arg-type]


def test_rows_are_parted() -> None:
    parts = [next(OwnRows(Endless(), rank=number, world=2)) for number in (0, 1)]
    assert [part.tokens.tolist() for part in parts] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert [part.reset.shape for part in parts] == [(2,), (2,)]
    with pytest.raises(ConfigError, match="multiple of the 3 processes, found 4"):
        next(OwnRows(Endless(), rank=0, world=3))


def test_a_state_with_two_groups_of_rows_is_parted_group_by_group() -> None:
    state = {"tail": torch.arange(4), "both": torch.arange(8), "position": torch.tensor(5)}
    parts = [rank(number, 2).own_rows(state, rows=2) for number in (0, 1)]
    assert [part["tail"].tolist() for part in parts] == [[0, 1], [2, 3]]
    assert [part["both"].tolist() for part in parts] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert [int(part["position"]) for part in parts] == [5, 5]


def test_alone_is_everything() -> None:
    alone = rank(0, 1)
    state = {"tail": torch.arange(4)}
    assert alone.writes
    assert alone.total(1.5, 2.0) == [1.5, 2.0]
    assert alone.gather_rows(state, rows=4)["tail"].equal(state["tail"])
    assert alone.own_rows(state, rows=4)["tail"].equal(state["tail"])
