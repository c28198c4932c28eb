"""Experts and mixture in compiled code against the definitions in torch: logits, what was learned, every gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.tasks.test_mixing import bases, make
from titans_seq.memory.table import Table
from titans_seq.memory.table_layout import TableSpec
from titans_seq.ops.native import library, load
from titans_seq.tasks import mixing_native, nats_per_base
from titans_seq.tasks.next_base import NextBaseState
from titans_seq.tasks.table_experts import TableExperts

pytestmark = pytest.mark.skipif(library() is None, reason=f"compiled kernels: {load()[1]}")

SPECS = {
    "bases": TableSpec(orders=(1, 3, 8, 16), copies=(8, 12)),
    "nine tokens": TableSpec(alphabet=9, complement=None, orders=(1, 2, 5), copies=(4,)),
    "codes of bytes": TableSpec(alphabet=254, complement=None, orders=(1, 2), copies=(3,)),
}


def outcome(rows: int, *, drop: float) -> tuple[Tensor, NextBaseState, dict[str, Tensor]]:
    torch.manual_seed(3)
    task, tokens = make(drop=drop).train(), bases(rows, 300)
    tokens[:, 100:160] = tokens[:, 10:70]
    tokens[:, 60:63] = 4
    first, state = task(tokens[:, :141])
    second, state = task(tokens[:, 141:], state=state)
    logits = torch.cat([first, second], 1)[:, :-1]
    nats_per_base(logits, tokens[:, 1:], tokens[:, 1:] < 4).sum().backward()
    return logits.detach(), state, {name: p.grad for name, p in task.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("rows", "drop"), [(1, 0.0), (3, 0.5)])
def test_logits_states_and_gradients_are_those_of_the_definition(
    rows: int, drop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, state, gradients = outcome(rows, drop=drop)
    monkeypatch.setattr(mixing_native, "library", lambda: None)
    wanted, definition, expected = outcome(rows, drop=drop)
    torch.testing.assert_close(logits, wanted, atol=2e-6, rtol=0)
    assert gradients.keys() == expected.keys()
    assert gradients.keys() >= {"mixing.experts.log_alpha", "mixing.by_confidence.weight", "mixing.gate.weight"}
    for name, value in expected.items():
        torch.testing.assert_close(
            gradients[name], value, atol=2e-6 * float(value.abs().max()) + 1e-9, rtol=0, msg=name
        )
    for name, value in definition.tensors().items():
        mine = state.tensors()[name]
        if value.is_floating_point():
            torch.testing.assert_close(mine, value, atol=2e-6, rtol=0, msg=name)
        else:
            assert torch.equal(mine, value), name


@pytest.mark.parametrize("name", SPECS)
def test_experts_are_those_of_the_definition(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS[name]
    make, table = TableExperts(spec), Table(spec)
    tokens = torch.randint(0, spec.alphabet, (2, 700), generator=torch.Generator().manual_seed(0))
    tokens[:, 300:] = tokens[:, :400]
    tokens[:, 30] = spec.alphabet
    reading = table.read(tokens, table.initial_state(2, tokens=1000))
    found = make(reading)
    monkeypatch.setattr(mixing_native, "library", lambda: None)
    wanted = make(reading)
    assert found.counts is not None
    assert wanted.counts is None
    assert len(wanted.confidence.unique()) > 10
    assert torch.equal(found.confidence, wanted.confidence)
    assert torch.equal(found.situation, wanted.situation)
    torch.testing.assert_close(found.scores, wanted.scores.detach(), atol=2e-6, rtol=0)
    torch.testing.assert_close(found.features, wanted.features, atol=2e-6, rtol=0)


@torch.no_grad()
def test_a_cut_changes_no_bit_of_what_is_mixed() -> None:
    task, tokens = make(), bases(2, 150)
    mixing = task.mixing
    assert mixing is not None
    generator = torch.Generator().manual_seed(0)
    own, gate = (torch.randn(2, 150, width, generator=generator) for width in (4, mixing.count))

    def mixed(cuts: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        state, parts = mixing.initial_state(2, device=torch.device("cpu")), []
        for first, last in zip([0, *cuts], [*cuts, 150], strict=True):
            here = slice(first, last)
            experts, state = mixing.read(tokens[:, here], tokens[:, here] < 4, state)
            parts.append(mixing.mix(
                own[:, here], gate[:, here], experts, tokens=tokens[:, here], mask=tokens[:, here] < 4, state=state
            ))  # fmt: skip
        return torch.cat(parts, 1), state.fast.tensors()

    whole, end = mixed([])
    for cuts in ([1, 7, 40, 41, 90], [149]):
        parts, state = mixed(cuts)
        assert torch.equal(parts, whole)
        assert all(torch.equal(state[name], value) for name, value in end.items())


def test_numbers_of_another_kind_are_left_to_the_definition() -> None:
    assert mixing_native.kernels_for(torch.zeros(1)) is library()
    assert mixing_native.kernels_for(torch.zeros(1, dtype=torch.double)) is None
    assert mixing_native.kernels_for(torch.zeros(1, device="meta")) is None
