"""The table against a slow definition with dictionaries; exact under cuts, causal, rows apart, of fixed size."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from titans_seq.errors import ConfigError, ShapeError, StateMismatchError
from titans_seq.memory import table_native
from titans_seq.memory.table import Table, TableReading
from titans_seq.memory.table_layout import TableSpec
from titans_seq.ops.native import library, load

BASES = TableSpec(orders=(1, 3, 6, 9), copies=(8, 12), chunk=16, megabytes=64)
UNEXPECTED = replace(BASES, store="unexpected")
QUANTISED = TableSpec(alphabet=9, complement=None, orders=(1, 2, 5), copies=(4, 6), chunk=8, tolerance=4)


@pytest.fixture(autouse=True, params=["compiled", "torch"])
def _path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here holds for the compiled path and for the definition in torch."""
    if request.param == "torch":
        monkeypatch.setattr(table_native, "library", lambda: None)
    elif library() is None:
        pytest.skip(f"compiled kernels: {load()[1]}")


def stream(rows: int, length: int, *, spec: TableSpec, seed: int = 0) -> Tensor:
    """Random tokens with two copies, an unknown stretch, and a run of one token."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, spec.alphabet, (rows, length), generator=generator)
    tokens[:, 150:200] = tokens[:, 20:70]
    if spec.complement is not None:
        tokens[:, 250:300] = 3 - tokens[:, 90:140].flip(1)
    tokens[:, 75:78] = spec.alphabet
    tokens[:, 210:240] = 0
    return tokens


def read(tokens: Tensor, spec: TableSpec, cuts: list[int] | None = None, *, room: int = 1000) -> TableReading:
    table = Table(spec)
    state = table.initial_state(len(tokens), tokens=room)
    parts = []
    for first, last in zip([0, *(cuts or [])], [*(cuts or []), tokens.shape[1]], strict=True):
        parts.append(table.read(tokens[:, first:last], state))
    return joined(parts)


def joined(parts: list[TableReading]) -> TableReading:
    copies = [part.copies for part in parts]
    names = ("symbol", "source", "run", "misses")
    return TableReading(
        torch.cat([part.counts for part in parts], 1),
        torch.cat([part.hits for part in parts], 1),
        type(copies[0])(*(torch.cat([getattr(copy, name) for copy in copies], 1) for name in names)),
    )


def fields(reading: TableReading) -> dict[str, Tensor]:
    return {"counts": reading.counts, "hits": reading.hits} | {
        name: getattr(reading.copies, name) for name in ("symbol", "source", "run", "misses")
    }


def same(first: TableReading, second: TableReading) -> bool:
    return all(torch.equal(value, fields(second)[name]) for name, value in fields(first).items())


def counted(tokens: list[int], spec: TableSpec, k: int) -> list[list[int]]:
    """The definition: a dictionary from context to counts, written at each chunk border."""
    seen: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0] * spec.alphabet)
    events: list[tuple[tuple[int, ...], int]] = []
    found = []
    for t, token in enumerate(tokens):
        if t % spec.chunk == 0:
            before = {context: list(seen[context]) for context, _ in events}
            for context, symbol in events:
                counts = before[context]
                certain = counts[symbol] == sum(counts) >= 4
                seen[context][symbol] += not (certain and spec.store == "unexpected")
            events = []
        window = tokens[max(0, t - k) : t + 1]
        if len(window) == k + 1 and max(window) < spec.alphabet:
            events.append((tuple(window[:-1]), token))
            if spec.complement is not None:
                other = [spec.complement[x] for x in reversed(window)]
                events.append((tuple(other[:-1]), other[-1]))
        here = tokens[max(0, t + 1 - k) : t + 1]
        whole = len(here) == k and max(here) < spec.alphabet
        found.append(list(seen[tuple(here)]) if whole else [0] * spec.alphabet)
    return found


@pytest.mark.parametrize("spec", [BASES, QUANTISED, UNEXPECTED], ids=["bases", "quantised", "unexpected"])
def test_counts_are_those_of_the_definition(spec: TableSpec) -> None:
    tokens = stream(2, 330, spec=spec)
    # So much room that no two contexts meet in a bucket.
    counts = read(tokens, spec, room=200_000).counts
    for row in range(2):
        for number, k in enumerate(spec.orders):
            assert counts[row, :, number].tolist() == counted(tokens[row].tolist(), spec, k), (row, k)


@pytest.mark.parametrize("spec", [BASES, QUANTISED, UNEXPECTED], ids=["bases", "quantised", "unexpected"])
def test_any_cut_gives_the_same_bits(spec: TableSpec) -> None:
    tokens = stream(2, 330, spec=spec)
    whole = read(tokens, spec)
    for cuts in ([1, 2, 3, 17, 160, 161, 300], list(range(7, 330, 7)), [329]):
        assert same(read(tokens, spec, cuts), whole), cuts


def test_what_is_certain_is_not_counted_again() -> None:
    tokens = torch.randint(0, 4, (1, 32), generator=torch.Generator().manual_seed(8)).repeat(1, 20)
    spec = TableSpec(orders=(9,), copies=(12,), chunk=16, complement=None)
    every, news = (read(tokens, one, room=200_000).counts for one in (spec, replace(spec, store="unexpected")))
    assert int(every[0, -1].max()) == 19
    assert int(news[0, -1].max()) == 4
    tokens[0, 608] = (tokens[0, 608] + 1) % 4
    changed = read(tokens, replace(spec, store="unexpected"), room=200_000).counts
    assert sorted(changed[0, -1, 0].tolist()) == [0, 0, 1, 4]


def test_no_token_is_told_of_those_behind_it() -> None:
    tokens = stream(1, 330, spec=BASES)
    before = read(tokens, BASES)
    for at in (31, 160, 255):
        changed = tokens.clone()
        changed[0, at] = (changed[0, at] + 1) % 4
        after = read(changed, BASES)
        assert all(torch.equal(fields(after)[n][:, :at], value[:, :at]) for n, value in fields(before).items())
        assert not same(after, before)


def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    tokens = stream(3, 330, spec=BASES)
    together, alone = read(tokens, BASES), read(tokens[1:2], BASES)
    assert all(torch.equal(fields(together)[name][1:2], value) for name, value in fields(alone).items())


def test_copies_are_followed_through_mismatches_on_both_strands() -> None:
    tokens = torch.randint(0, 4, (1, 1200), generator=torch.Generator().manual_seed(3))
    tokens[:, 600:800] = tokens[:, 100:300]
    tokens[:, 900:1100] = 3 - tokens[:, 320:520].flip(1)
    tokens[:, [700, 1000]] = (tokens[:, [700, 1000]] + 1) % 4
    spec = TableSpec(orders=(2,), copies=(16,), chunk=16)
    copies = read(tokens, spec).copies
    at = torch.arange(620, 799)
    assert torch.equal(copies.source[0, at, 0], at + 1 - 500)
    right = copies.symbol[0, at, 0] == tokens[0, at + 1]
    assert (~right).sum() == 1
    assert not right[at == 699]
    assert copies.misses[0, 699, 0] == 0
    assert copies.misses[0, 720, 0] == 1
    assert copies.run[0, 720, 0] == 20
    at = torch.arange(920, 1099)
    assert torch.equal(copies.source[0, at, 1], 1419 - (at + 1))
    right = copies.symbol[0, at, 1] == tokens[0, at + 1]
    assert (~right).sum() == 1
    assert not right[at == 999]


def test_the_run_counts_on_beyond_the_window_that_is_compared() -> None:
    tokens = torch.randint(0, 4, (1, 800), generator=torch.Generator().manual_seed(4))
    tokens[:, 400:700] = tokens[:, 50:350]
    runs = read(tokens, TableSpec(orders=(2,), copies=(16,), chunk=16)).copies.run[0, :, 0]
    assert tokens[0, 399] != tokens[0, 49]
    agreeing = torch.arange(17, 301)
    assert torch.equal(runs[399 + agreeing], agreeing + (agreeing >= 31))


@pytest.mark.parametrize(("sight", "distance"), [("last", 300), ("first", 600)])
def test_the_last_or_the_first_sight_is_kept(sight: str, distance: int) -> None:
    tokens = torch.randint(0, 4, (1, 300), generator=torch.Generator().manual_seed(6)).repeat(1, 3)
    spec = TableSpec(orders=(2,), copies=(16,), chunk=16, complement=None, sight=sight)  # type: ignore[arg-type]
    table = Table(spec)
    state = table.initial_state(1, tokens=5000)
    table.read(tokens[:, :608], state)
    state.followed.live.zero_()
    reading = table.read(tokens[:, 608:], state)
    at = torch.arange(620, 899)
    assert torch.equal(reading.copies.source[0, at - 608, 0], at + 1 - distance)


def test_an_unknown_token_writes_nothing() -> None:
    table = Table(BASES)
    state = table.initial_state(1, tokens=100)
    table.read(torch.full((1, 64), 4), state)
    assert not state.slots.plane.any()
    assert not state.places.any()


def test_a_reset_row_begins_anew_and_the_others_go_on() -> None:
    table, tokens = Table(BASES), stream(2, 320, spec=BASES)
    state = table.initial_state(2, tokens=320)
    first = table.read(tokens[:, :160], state)
    state.reset(torch.tensor([True, False]))
    second = table.read(tokens[:, 160:], state)
    fresh, on = read(tokens[:1, 160:], BASES), joined([first, second])
    assert torch.equal(second.counts[:1], fresh.counts)
    assert torch.equal(second.copies.run[:1], fresh.copies.run)
    whole = read(tokens, BASES)
    assert all(torch.equal(fields(on)[name][1], value[1]) for name, value in fields(whole).items())


def test_a_state_comes_back_from_its_tensors_and_a_fork_goes_its_own_way() -> None:
    table, tokens = Table(BASES), stream(2, 330, spec=BASES)
    state = table.initial_state(2, tokens=330)
    table.read(tokens[:, :201], state)
    kept = table.load_state({name: value.clone() for name, value in state.tensors().items()})
    twin = state.fork()
    rest = table.read(tokens[:, 201:], state)
    assert kept.position == twin.position == 201
    assert same(table.read(tokens[:, 201:], kept), rest)
    assert same(table.read(tokens[:, 201:], twin), rest)


def test_the_size_is_fixed_and_a_longer_stream_overwrites() -> None:
    spec = TableSpec(orders=(2, 12), copies=(16,), chunk=64, megabytes=0.1)
    table = Table(spec)
    state = table.initial_state(1, tokens=10**9)
    sizes = {name: value.numel() for name, value in state.tensors().items()}
    assert sum(v.numel() * v.element_size() for v in state.tensors().values()) < 1e5
    tokens = torch.randint(0, 4, (1, 6_000), generator=torch.Generator().manual_seed(5))
    tokens[:, -300:] = tokens[:, -900:-600]
    reading = table.read(tokens, state)
    assert {name: value.numel() for name, value in state.tensors().items()} == sizes
    assert (reading.copies.symbol[0, -250:-1, 0] == tokens[0, -249:]).all()
    assert int(reading.copies.source.max()) < 6_000


def test_wrong_calls_are_named() -> None:
    table = Table(BASES)
    with pytest.raises(ShapeError, match=r"expected tokens \(2, T\)"):
        table.read(torch.zeros(3, 4), table.initial_state(2, tokens=10))
    with pytest.raises(StateMismatchError, match="another table"):
        Table(QUANTISED).load_state(table.initial_state(1, tokens=10).tensors())
    for wrong in ({"orders": (4, 2)}, {"orders": ()}, {"copies": (40,)}, {"chunk": 65}, {"alphabet": 1},
                  {"sight": "none"}, {"store": "some"}, {"complement": (0, 1, 2)}):  # fmt: skip
        with pytest.raises(ConfigError, match="expected"):
            TableSpec(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="too small"):
        Table(TableSpec(megabytes=0.01)).initial_state(1, tokens=1000)
