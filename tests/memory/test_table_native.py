"""The compiled table against the definition in torch: every reading and all of the state, bit for bit."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from titans_seq.memory import table_native
from titans_seq.memory.table import Table, TableReading
from titans_seq.memory.table_layout import Layout, TableSpec
from titans_seq.memory.table_state import TableState
from titans_seq.ops.native import library, load

pytestmark = pytest.mark.skipif(library() is None, reason=f"compiled kernels: {load()[1]}")

SMALL = {"orders": (2, 3, 9, 12), "copies": (9, 16), "megabytes": 0.1}
SPECS = {
    "bases": TableSpec(),
    "first sight": TableSpec(orders=(1, 4, 9, 12, 18), sight="first"),
    "one strand": TableSpec(orders=(1, 4, 9, 12, 18), complement=None, tolerance=3),
    "one strand, first sight": TableSpec(orders=(3, 11), complement=None, sight="first"),
    "overfull": TableSpec(**SMALL),
    "unexpected": TableSpec(store="unexpected"),
    "unexpected, overfull": TableSpec(**SMALL, store="unexpected"),
    "overfull, first sight": TableSpec(**SMALL, sight="first"),
    "two tokens": TableSpec(alphabet=2, complement=(1, 0), orders=(1, 5, 17, 40), copies=(20, 60), chunk=1),
    "five tokens, two strands": TableSpec(
        alphabet=5, complement=(4, 1, 2, 3, 0), orders=(1, 2, 4, 7, 9), copies=(4, 9), chunk=17
    ),
    "nine tokens": TableSpec(alphabet=9, complement=None, orders=(1, 2, 5), copies=(4, 6), chunk=8, tolerance=4),
    "nine tokens, unexpected": TableSpec(
        alphabet=9, complement=None, orders=(1, 2, 5), copies=(4, 6), chunk=8, store="unexpected"
    ),
    "codes of bytes": TableSpec(alphabet=254, complement=None, orders=(1, 2, 5), copies=(2, 6)),
}


def stream(spec: TableSpec, rows: int, length: int) -> Tensor:
    """Random tokens with mutated copies on both strands, a run of one token, and unknown ones, alone and in a row."""
    generator = torch.Generator().manual_seed(length)
    tokens = torch.randint(0, spec.alphabet, (rows, length), generator=generator)
    part = length // 8
    tokens[:, 3 * part : 4 * part] = tokens[:, part : 2 * part]
    if spec.complement is not None:
        tokens[:, 5 * part : 6 * part] = torch.tensor(spec.complement)[tokens[:, part : 2 * part]].flip(1)
    drawn = torch.randint(0, spec.alphabet, tokens.shape, generator=generator)
    tokens = torch.where(torch.rand(tokens.shape, generator=generator) < 0.01, drawn, tokens)
    tokens[:, 6 * part : 6 * part + 200] = 1
    tokens[torch.rand(tokens.shape, generator=generator) < 0.003] = spec.alphabet
    tokens[:, 2 * part + 5 : 2 * part + 9] = spec.alphabet + 3
    return tokens


def read(spec: TableSpec, tokens: Tensor, *, room: int) -> tuple[list[TableReading], TableState]:
    """Odd cuts, and every other row begun anew halfway."""
    table, chance = Table(spec), random.Random(0)
    state, parts, at = table.initial_state(len(tokens), tokens=room), [], 0
    anew = tokens.shape[1] // 2
    while at < tokens.shape[1]:
        end = min(at + chance.choice([1, 2, 7, 63, 64, 65, 100, 512]), tokens.shape[1])
        parts.append(table.read(tokens[:, at:end], state))
        if at < anew <= end:
            state.reset(torch.arange(len(tokens)) % 2 == 0)
        at = end
    return parts, state


@pytest.mark.parametrize("name", SPECS)
def test_readings_and_states_are_those_of_the_definition(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS[name]
    short = spec.chunk < 64
    tokens, room = stream(spec, 3 if short else 2, 1200 if short else 3600), 10**9 if spec.megabytes < 1 else 1000
    found, state = read(spec, tokens, room=room)
    with monkeypatch.context() as patch:
        patch.setattr(table_native, "library", lambda: None)
        wanted, definition = read(spec, tokens, room=room)
    live = 0
    for one, two in zip(found, wanted, strict=True):
        assert torch.equal(one.counts, two.counts)
        assert torch.equal(one.hits, two.hits)
        for field in ("symbol", "source", "run", "misses"):
            assert torch.equal(getattr(one.copies, field), getattr(two.copies, field)), field
        live += int((one.copies.source >= 0).sum())
    assert live > 0
    for field, value in definition.tensors().items():
        mine = state.tensors()[field]
        assert mine.dtype == value.dtype
        assert torch.equal(mine, value), field


def test_either_path_goes_on_where_the_other_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS["bases"]
    tokens, table = stream(spec, 2, 1600), Table(spec)
    state = table.initial_state(2, tokens=1000)
    whole = table.read(tokens, state)
    mixed, parts = table.initial_state(2, tokens=1000), []
    for number, part in enumerate(tokens.split(311, dim=1)):
        with monkeypatch.context() as patch:
            if number % 2:
                patch.setattr(table_native, "library", lambda: None)
            parts.append(table.read(part, mixed))
    assert torch.equal(torch.cat([part.counts for part in parts], 1), whole.counts)
    assert all(torch.equal(value, mixed.tensors()[name]) for name, value in state.tensors().items())


def test_threads_change_nothing() -> None:
    spec = SPECS["overfull"]
    tokens, table, ends = stream(spec, 3, 1600), Table(spec), []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        state = table.initial_state(3, tokens=1000)
        table.read(tokens, state)
        ends.append(state.tensors())
    torch.set_num_threads(before)
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_other_devices_and_slots_beyond_32_bits_are_left_to_the_definition() -> None:
    spec = TableSpec(orders=(2,), copies=(8,))
    state = TableState.empty(Layout(spec, 1000), 1, device=torch.device("meta"))
    assert table_native.compiled(state, 40) is None
    assert table_native.compiled(Table(spec).initial_state(1, tokens=1000), 40) is not None
    large = TableState.empty(Layout(TableSpec(megabytes=1e6), 2**32), 1, device=torch.device("meta"))
    large.tokens = torch.empty(0, dtype=torch.uint8)
    assert table_native.compiled(large, 40) is None
