"""Next values around a real encoder: any cut is the same, nothing is told of the future, holes say nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from titans_seq import Encoder
from titans_seq.tasks.next_value import NextValue


def make(variant: str = "lmm", *, values: int = 3) -> NextValue:
    torch.manual_seed(0)
    encoder = Encoder(variant=variant, d_model=16, n_layers=2, n_heads=2, chunk_size=8, segment=16, window=16,
                      persistent=2)  # fmt: skip
    task = NextValue(encoder=encoder, values=values)
    torch.nn.init.normal_(task.head.weight, std=0.3)
    return task


def series(rows: int = 2, length: int = 50) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(rows, length, 3, generator=generator)
    known = torch.rand(rows, length, 3, generator=generator) > 0.2
    known[:, 20:24] = False
    return torch.where(known, values, torch.nan), known


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag"])
@torch.no_grad()
def test_any_cut_gives_the_same(variant: str) -> None:
    task, (values, known) = make(variant), series()
    whole, end = task(values, known)
    assert whole.isfinite().all()
    parts, state = [], None
    for first, last in ((0, 1), (1, 17), (17, 50)):
        part, state = task(values[:, first:last], known[:, first:last], state=state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)
    again = task.load_state(state.tensors())
    more, _ = task(values[:, :9], known[:, :9], state=again)
    wanted, _ = task(values[:, :9], known[:, :9], state=end)
    torch.testing.assert_close(more, wanted, atol=1e-5, rtol=0)


@torch.no_grad()
def test_no_token_is_told_of_those_behind_it() -> None:
    task, (values, known) = make(), series(1)
    before, _ = task(values, known)
    other = values.clone()
    other[:, 30:] += 1
    after, _ = task(other, known)
    assert torch.equal(before[:, :30], after[:, :30])
    assert not torch.equal(before[:, 30:], after[:, 30:])


@torch.no_grad()
def test_what_is_unknown_is_not_looked_at() -> None:
    task, (values, known) = make(), series()
    assert torch.equal(task(values, known)[0], task(torch.where(known, values, 1e9), known)[0])


def test_the_cost_counts_what_is_known_and_begins_at_no_change() -> None:
    task, (values, known) = make(), series()
    torch.nn.init.zeros_(task.head.weight)
    segment = SimpleNamespace(
        values=values[:, :-1].numpy(), known=known[:, :-1].numpy(), targets=values[:, 1:].numpy(),
        target_known=known[:, 1:].numpy(), reset=None,
    )  # fmt: skip
    cost = task.cost(segment, state=None, device=torch.device("cpu"))
    last = torch.where(known, values, 0.0)[:, :-1]
    assert cost.targets == int(known[:, 1:].sum())
    wanted = (last - values[:, 1:])[known[:, 1:]].square().sum()
    assert float(cost.total.detach()) == pytest.approx(float(wanted), rel=1e-5)
    cost.total.backward()
    assert task.head.weight.grad is not None
    assert task.head.weight.grad.isfinite().all()
