"""The table's Triton kernels against the definition in torch, under Triton's interpreter.

Run by `test_table_triton.py`, in a process of its own.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from titans_seq.memory import table_native, table_slots
from titans_seq.memory.table import Table, TableReading
from titans_seq.memory.table_layout import TableSpec
from titans_seq.memory.table_slots import CAP, Bucket, Slots
from titans_seq.memory.table_state import TableState
from titans_seq.ops.triton import table as kernels

CPU = torch.device("cpu")


def events(count: int, alphabet: int, *, buckets: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slots, check bits of which few are different, tokens, and whether an event may move."""
    generator = torch.Generator().manual_seed(seed)
    slot, tag, symbol, moves = (
        torch.randint(low, high, (count,), generator=generator)
        for low, high in ((0, 2 * buckets), (1, 4), (0, alphabet), (0, 2))
    )
    return slot, tag.short() * 10_000, symbol, moves.bool()


@pytest.mark.parametrize("certain", [0, 2])
@pytest.mark.parametrize("alphabet", [4, 5, 9])
def test_a_write_follows_every_rule(alphabet: int, certain: int) -> None:
    """More events than a program has, that meet in few slots: claims, halving, and what is passed over."""
    slots = Slots.empty(2 * 24, alphabet=alphabet, device=CPU)
    passed = halved = 0
    for seed in range(12):
        slot, tag, symbol, moves = events(300, alphabet, buckets=24, seed=seed)
        symbol = torch.where(slot < 30, slot % alphabet, symbol)
        wanted = Slots(slots.plane.clone())
        bucket, said = wanted.find(slot, tag)
        tags, counts, found = kernels.look_up(slots.plane, slot, tag)
        assert torch.equal(tags, bucket.tags)
        assert torch.equal(counts, bucket.counts)
        assert torch.equal(found, said)
        halved += int((said >= CAP).any(-1).sum())
        passed += int(((said.gather(1, symbol[:, None])[:, 0] == said.sum(-1)) & (said.sum(-1) >= 2)).sum())
        wanted.add(slot, tag, symbol, moves=moves, bucket=Bucket(tags, counts), certain=certain)
        kernels.add(
            slots.plane, slot, tag, symbol, moves=moves, tags=tags, counts=counts, cap=CAP, certain=certain
        )  # fmt: skip
        assert torch.equal(slots.plane, wanted.plane)
        if seed == 5:  # some counts become full
            full = slots.plane.view(-1, 2 * alphabet + 4)[::3, :alphabet]
            full[full > 0] = CAP
    assert slots.plane.any()
    assert passed > 0
    assert halved > 0


@pytest.mark.parametrize("store", ["all", "unexpected"])
@pytest.mark.parametrize("megabytes", [0.1, 64.0])
def test_a_stream_reads_the_same(store: str, megabytes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(TableSpec(orders=(2, 3, 9), copies=(9,), chunk=32, megabytes=megabytes), store=store)  # type: ignore[arg-type]
    tokens = torch.randint(0, 5, (2, 150), generator=torch.Generator().manual_seed(1))
    tokens[:, 40:150] = tokens[:, :110].where(tokens[:, :110] < 4, 1)
    monkeypatch.setattr(table_native, "library", lambda: None)
    ends: list[tuple[TableReading, TableState]] = []
    for module in (None, kernels):
        monkeypatch.setattr(table_slots, "kernels_for", lambda plane, module=module: module)
        state = Table(spec).initial_state(2, tokens=10**6 if megabytes < 1 else 200)
        ends.append((Table(spec).read(tokens, state), state))
    (definition, wanted), (found, state) = ends
    assert found.counts.any()
    assert torch.equal(found.counts, definition.counts)
    assert torch.equal(found.hits, definition.hits)
    for name, value in wanted.tensors().items():
        assert torch.equal(state.tensors()[name], value), name


def test_no_events_are_no_launch() -> None:
    slots = Slots.empty(8, alphabet=4, device=CPU)
    none = torch.zeros(0, dtype=torch.long)
    tags, counts, _ = kernels.look_up(slots.plane, none, none.short())
    kernels.add(
        slots.plane, none, none.short(), none, moves=none.bool(), tags=tags, counts=counts, cap=CAP, certain=0
    )  # fmt: skip
    assert not slots.plane.any()
