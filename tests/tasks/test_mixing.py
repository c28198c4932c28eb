"""The table beside a network: exact under cuts, blind to the future, rows apart; the mixture learns while reading."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from titans_seq import Encoder
from titans_seq.errors import ShapeError, StateMismatchError
from titans_seq.memory import table_native
from titans_seq.memory.table_layout import TableSpec
from titans_seq.ops.native import library, load
from titans_seq.tasks import BaseContext, NextBase, mixing_native, nats_per_base
from titans_seq.tasks.mixing import TableMixing

SPEC = TableSpec(orders=(1, 2, 4, 8), copies=(8, 12), chunk=8)


@pytest.fixture(autouse=True, params=["compiled", "torch"])
def _path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds for the compiled path and for the definition in torch."""
    if request.param == "torch":
        for module in (table_native, mixing_native):
            monkeypatch.setattr(module, "library", lambda: None)
    elif library() is None:
        pytest.skip(f"compiled kernels: {load()[1]}")


def make(*, rate: float = 0.05, drop: float = 0.0) -> NextBase:
    torch.manual_seed(0)
    encoder = Encoder(variant="lmm", memory="titans_lmm", d_model=16, n_layers=1, n_heads=2, chunk_size=8)
    mixing = TableMixing(SPEC, d_model=16, rate=rate, drop=drop)
    mixing.expected = 2000
    context = BaseContext(d_model=16, window=6, kmers=(3,), kmer_width=4)
    task = NextBase(encoder=encoder, context=context, d_model=16, mixing=mixing)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return task.eval()


def bases(rows: int, length: int, *, seed: int = 0) -> Tensor:
    tokens = torch.randint(0, 4, (rows, length), generator=torch.Generator().manual_seed(seed))
    tokens[:, length // 2 : length // 2 + 40] = tokens[:, 5:45]
    tokens[:, 20:22] = 4
    return tokens


@torch.no_grad()
def test_any_cut_gives_the_same() -> None:
    task, tokens = make(), bases(2, 150)
    whole, end = task(tokens)
    for cuts in ([16, 150], [1, 7, 40, 41, 90, 150], [149, 150]):
        parts, state = [], None
        for first, last in zip([0, *cuts], cuts, strict=False):
            part, state = task(tokens[:, first:last], state=state)
            parts.append(part)
        torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=0)
        for name, value in end.mixing.table.tensors().items():
            assert torch.equal(state.mixing.table.tensors()[name], value), name
        torch.testing.assert_close(state.mixing.fast.by_confidence, end.mixing.fast.by_confidence, atol=1e-5, rtol=0)


@torch.no_grad()
def test_no_base_is_told_of_those_behind_it() -> None:
    task, tokens = make(), bases(1, 150)
    before, _ = task(tokens)
    for at in (31, 95, 149):
        changed = tokens.clone()
        changed[0, at] = (changed[0, at] + 1) % 4
        after, _ = task(changed)
        assert torch.equal(after[:, :at], before[:, :at])
        assert not torch.equal(after[:, at:], before[:, at:])


@torch.no_grad()
def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    task, tokens = make(), bases(3, 150)
    together, _ = task(tokens)
    alone, _ = task(tokens[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_reset_row_begins_and_the_others_go_on() -> None:
    task, tokens = make(), bases(2, 160)
    on, _ = task(tokens)
    _, state = task(tokens[:, :80])
    second, _ = task(tokens[:, 80:], state=state.reset(torch.tensor([True, False])))
    fresh, _ = task(tokens[:1, 80:])
    torch.testing.assert_close(second[:1], fresh, atol=1e-5, rtol=0)
    torch.testing.assert_close(second[1:], on[1:, 80:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_state_comes_back_from_its_tensors() -> None:
    task, tokens = make(), bases(2, 150)
    _, state = task(tokens[:, :83])
    kept = task.load_state({name: value.clone() for name, value in state.tensors().items()})
    assert all(value.ndim == 0 or len(value) == 2 for value in state.tensors().values())
    one, _ = task(tokens[:, 83:], state=state)
    two, _ = task(tokens[:, 83:], state=kept)
    assert torch.equal(one, two)


@torch.no_grad()
def test_a_state_from_before_there_was_an_average_begins_one() -> None:
    task, tokens = make(), bases(2, 150)
    _, state = task(tokens[:, :83])
    old = {
        name: value
        for name, value in state.tensors().items()
        if not name.endswith(("evidence", "last_each")) and "/second/" not in name
    }
    assert len(old) == len(state.tensors()) - 7
    wanted, _ = task(tokens[:, 83:], state=task.load_state({name: value.clone() for name, value in old.items()}))
    assert state.mixing is not None
    fast = state.mixing.fast
    for value in (fast.evidence, fast.last_each, *fast.second.tensors().values()):
        value.zero_()
    found, _ = task(tokens[:, 83:], state=state)
    assert torch.equal(found, wanted)


@torch.no_grad()
def test_a_state_that_was_read_on_is_refused_unless_it_was_forked() -> None:
    task, tokens = make(), bases(1, 150)
    _, state = task(tokens[:, :80])
    twin = state.fork()
    one, _ = task(tokens[:, 80:], state=state)
    two, _ = task(tokens[:, 80:], state=twin)
    assert torch.equal(one, two)
    with pytest.raises(StateMismatchError, match=r"stood at token 80.*read on to 150.*fork"):
        task(tokens[:, 80:], state=state)


@torch.no_grad()
def test_a_gate_of_another_width_is_refused() -> None:
    mixing, tokens = TableMixing(SPEC, d_model=16), torch.randint(0, 4, (1, 8))
    mask = torch.ones(1, 8, dtype=torch.bool)
    experts, state = mixing.read(tokens, mask, mixing.initial_state(1, device=tokens.device))
    with pytest.raises(ShapeError, match=r"one number an expert, found \(1, 8, 16\)"):
        mixing.mix(torch.randn(1, 8, 4), torch.randn(1, 8, 16), experts, tokens=tokens, mask=mask, state=state)


def test_silent_leaves_the_network_alone() -> None:
    task, tokens = make(), bases(1, 150)
    on, _ = task(tokens)
    with task.mixing.silent():
        off, state = task(tokens)
    task.mixing = None
    alone, _ = task(tokens)
    assert state.mixing is None
    assert torch.equal(off, alone)
    assert not torch.allclose(on, off)


@torch.no_grad()
def test_the_mixture_learns_while_it_reads() -> None:
    tokens = torch.randint(0, 4, (1, 100), generator=torch.Generator().manual_seed(1)).repeat(1, 12)
    costs = {}
    for rate in (0.0, 0.02):
        task = make(rate=rate)
        # Weights that believe no copy: reading has to find out that they are right.
        task.mixing.by_confidence.weight.zero_()
        task.mixing.by_situation.weight.zero_()
        logits, _ = task(tokens[:, :-1])
        known = torch.ones_like(tokens[:, 1:], dtype=torch.bool)
        costs[rate] = nats_per_base(logits, tokens[:, 1:], known)[0, 600:].mean()
    assert costs[0.02] < costs[0.0] / 4


@torch.no_grad()
def test_masked_tokens_teach_nothing() -> None:
    task = make()
    _, state = task(torch.full((1, 64), 4))
    assert not state.mixing.fast.by_confidence.any()
    assert not state.mixing.table.slots.plane.any()


def test_gradients_reach_every_part_and_dropped_rows_do_without() -> None:
    task, tokens = make(), bases(2, 150)
    logits, _ = task(tokens[:, :-1])
    nats_per_base(logits, tokens[:, 1:], tokens[:, 1:] < 4).sum().backward()
    missing = [name for name, p in task.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert missing == []
    dropped = make(drop=0.999).train()
    logits, state = dropped(tokens)
    with dropped.mixing.silent():
        alone, _ = dropped(tokens)
    torch.testing.assert_close(logits.softmax(-1), alone.softmax(-1), atol=1e-6, rtol=0)
    assert not state.mixing.fast.by_confidence.any()
    assert bool(state.mixing.table.slots.plane.any())


def test_doubt_leaves_every_base_its_share() -> None:
    mixing = TableMixing(TableSpec(orders=(2, 4), copies=(6,)), d_model=8)
    certain, situation = torch.tensor([[[60.0, 0, 0, 0]]]), torch.tensor([[5]])
    doubted = mixing._doubted(certain, situation).exp()
    torch.testing.assert_close(doubted.sum(-1), torch.ones(1, 1))
    assert 2.4e-4 < float(doubted.detach().min()) < 2.6e-4
    with torch.no_grad():
        mixing.doubt.weight[5] = -40.0
    torch.testing.assert_close(mixing._doubted(certain / 20, situation).exp(), (certain / 20).softmax(-1))
