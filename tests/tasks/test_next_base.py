"""The task around a real encoder: exact under any cut, blind to the future, deaf to other rows and to N."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from titans_seq import Encoder
from titans_seq.tasks import BaseContext, NextBase, nats_per_base
from titans_seq.tasks.base_context import kmer_ids

VARIANTS = ["lmm", "mac", "mag", "mal", "hybrid"]
A, C, G, T, N = range(5)


def make(variant: str = "lmm", memory: str = "titans_lmm") -> NextBase:
    torch.manual_seed(0)
    encoder = Encoder(variant=variant, memory=memory, d_model=16, n_layers=2, n_heads=2, chunk_size=8, segment=16,
                      window=16, persistent=2)  # fmt: skip
    task = NextBase(encoder=encoder, context=BaseContext(d_model=16, window=6, kmers=(3, 9), kmer_width=4), d_model=16)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return task


def bases(rows: int, length: int, *, seed: int = 0) -> Tensor:
    tokens = np.random.default_rng(seed).integers(0, 4, (rows, length))
    tokens[:, 20:23] = N
    return torch.from_numpy(tokens)


def test_kmers_are_numbers_in_base_four() -> None:
    tokens = torch.tensor([[A, C, N, G, T]])
    assert kmer_ids(tokens, 1).tolist() == [[0, 1, 4, 2, 3]]
    assert kmer_ids(tokens, 2).tolist() == [[16, 1, 16, 16, 11]]


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_any_cut_gives_the_same(variant: str) -> None:
    task, tokens = make(variant), bases(2, 90)
    whole, end = task(tokens)
    for cuts in ([16, 90], [1, 7, 40, 41, 90], [89, 90]):
        parts, state = [], None
        for first, last in zip([0, *cuts], cuts, strict=False):
            part, state = task(tokens[:, first:last], state=state)
            parts.append(part)
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)
        assert torch.equal(state.tail, end.tail)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_no_base_is_told_of_those_behind_it(variant: str) -> None:
    task, tokens = make(variant), bases(1, 60)
    before, _ = task(tokens)
    for at in (5, 31, 59):
        changed = tokens.clone()
        changed[0, at] = (changed[0, at] + 1) % 4
        after, _ = task(changed)
        assert torch.equal(after[:, :at], before[:, :at])
        assert not torch.equal(after[:, at:], before[:, at:])


@torch.no_grad()
def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    task, tokens = make("mag"), bases(3, 50)
    together, _ = task(tokens)
    alone, _ = task(tokens[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_reset_row_begins_and_the_others_go_on() -> None:
    task, tokens = make("mac"), bases(2, 64)
    _, state = task(tokens[:, :32])
    second, _ = task(tokens[:, 32:], state=state.reset(torch.tensor([True, False])))
    fresh, _ = task(tokens[:1, 32:])
    on, _ = task(tokens)
    torch.testing.assert_close(second[:1], fresh, atol=1e-5, rtol=0)
    torch.testing.assert_close(second[1:], on[1:, 32:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_state_comes_back_from_its_tensors() -> None:
    task, tokens = make("mag"), bases(2, 72)
    _, state = task(tokens[:, :41])
    kept = {name: value.clone() for name, value in state.tensors().items()}
    one, _ = task(tokens[:, 41:], state=state)
    two, _ = task(tokens[:, 41:], state=task.load_state(kept))
    assert torch.equal(one, two)


@torch.no_grad()
def test_memory_off_and_memory_none_run() -> None:
    task, tokens = make("mal"), bases(1, 40)
    on, _ = task(tokens)
    with task.encoder.memory_off():
        off, _ = task(tokens)
    assert not torch.allclose(on, off)
    make("mal", memory="none")(tokens)


def test_costs_are_nats_and_the_masked_are_free() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 1, G] = 100.0
    costs = nats_per_base(logits, torch.tensor([[A, G, N]]), torch.tensor([[True, True, False]]))
    torch.testing.assert_close(costs, torch.tensor([[np.log(4), 0.0, 0.0]], dtype=torch.float32))


def test_gradients_reach_every_part() -> None:
    task, tokens = make("mag"), bases(2, 64)
    logits, _ = task(tokens[:, :-1])
    nats_per_base(logits, tokens[:, 1:], tokens[:, 1:] < N).sum().backward()
    missing = [name for name, p in task.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert missing == []
