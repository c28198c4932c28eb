"""One bucket at a time: who gives way, what is halved, that order does not matter; packed windows and keys."""

from __future__ import annotations

import torch
from torch import Tensor

from titans_seq.memory.table_keys import ContextKeys
from titans_seq.memory.table_packing import Packing
from titans_seq.memory.table_pages import zeros_in_large_pages
from titans_seq.memory.table_slots import CAP, Slots


def put(slots: Slots, *events: tuple[int, int, int]) -> None:
    """Write (slot, tag, symbol), all at once."""
    slot, tag, symbol = (torch.tensor(column) for column in zip(*events, strict=True))
    slots.add(slot, tag.short(), symbol, moves=torch.ones(len(slot), dtype=torch.bool), bucket=slots.look(slot))


def count(slots: Slots, slot: int, tag: int) -> list[int]:
    at = torch.tensor([slot])
    return list(slots.look(at).of(torch.tensor([tag]).short())[0].tolist())


def empty() -> Slots:
    return Slots.empty(8, alphabet=4, device=torch.device("cpu"))


def test_two_contexts_share_a_bucket_and_the_less_certain_gives_way() -> None:
    slots = empty()
    put(slots, (2, 7, 1), (2, 7, 1), (2, 7, 3))
    put(slots, (2, 8, 0))
    assert count(slots, 2, 7) == [0, 2, 0, 1]
    assert count(slots, 2, 8) == [1, 0, 0, 0]
    put(slots, (3, 9, 2))
    assert count(slots, 3, 9) == [0, 0, 1, 0]
    assert count(slots, 2, 8) == [0, 0, 0, 0]
    assert count(slots, 2, 7) == [0, 2, 0, 1]


def test_of_new_contexts_that_meet_the_largest_check_bits_win_in_any_order() -> None:
    events = [(4, 5, 1), (4, 9, 2), (4, 6, 3), (4, 9, 0)]
    first, second = empty(), empty()
    put(first, *events)
    put(second, *reversed(events))
    assert count(first, 4, 9) == [1, 0, 1, 0]
    assert count(first, 4, 5) == [0, 0, 0, 0]
    assert torch.equal(first.plane, second.plane)


def test_full_counts_are_halved_and_never_run_over() -> None:
    slots = empty()
    for _ in range(40):
        put(slots, *[(0, 3, 2)] * 128)
    assert CAP // 2 + 128 <= count(slots, 0, 3)[2] <= 255
    put(slots, (0, 3, 1))
    assert count(slots, 0, 3)[1] == 1


def test_windows_are_packed_and_compared() -> None:
    packing = Packing(4)
    assert packing.width == 31
    assert Packing(16).width == 15
    assert Packing(254).width == 7
    tokens = torch.randint(0, 4, (1, 60), generator=torch.Generator().manual_seed(0))
    columns = packing.columns(31)
    halves = (tokens.double().unfold(1, 31, 1) @ columns).long()
    latest, oldest = packing.joined(halves)
    window = tokens[0, 5:36].tolist()
    assert int(latest[0, 5]) == sum(s << (2 * (30 - i)) for i, s in enumerate(window))
    assert int(oldest[0, 5]) == sum(s << (2 * i) for i, s in enumerate(window))
    other = list(window)
    other[30 - 4] ^= 3
    other[30 - 9] ^= 1
    changed = torch.tensor(sum(s << (2 * (30 - i)) for i, s in enumerate(other)))
    misses, run = packing.compare(latest[0, 5], changed)
    assert (int(misses), int(run)) == (2, 4)
    assert [int(x) for x in packing.compare(changed, changed)] == [0, 31]


def keys(window: Tensor, *, first: int, reverse: bool = False) -> Tensor:
    made = ContextKeys((2, 20), slots=(16, 1 << 12), packing=Packing(4), longest=80, device=torch.device("cpu"))
    found = made.reverse(3 - window, first=first) if reverse else made.forward(window, first=first)
    return torch.stack([found.slot[0], found.tag[0].long()])


def test_a_key_is_of_its_context_alone_wherever_the_window_begins() -> None:
    tokens = torch.randint(0, 4, (1, 80), generator=torch.Generator().manual_seed(1))
    whole, part = keys(tokens, first=40), keys(tokens[:, 7:], first=33)
    assert torch.equal(whole, part)
    assert whole[0, 0, 0] == tokens[0, 40] + 4 * tokens[0, 39]


def test_the_other_strand_has_the_key_of_its_own_reading() -> None:
    tokens = torch.randint(0, 4, (1, 80), generator=torch.Generator().manual_seed(2))
    mirrored = 3 - tokens.flip(1)
    backwards = keys(tokens, first=40, reverse=True)
    forwards = keys(mirrored, first=31)
    for column, k in enumerate((2, 20)):
        for t in (40, 45, 48):
            # The context t - k + 1 .. t ends at 79 - (t - k + 1) when read from the other end.
            assert torch.equal(backwards[:, t - 40, column], forwards[:, 79 - (t - k + 1) - 31, column])


def test_a_plane_in_large_pages_is_zeros_like_any_other() -> None:
    for shape in ((3, 5), (1 << 19, 12)):
        plane = zeros_in_large_pages(*shape, dtype=torch.uint8, device=torch.device("cpu"))
        assert plane.shape == shape
        assert plane.is_contiguous()
        assert not plane.any()
    assert zeros_in_large_pages(4, dtype=torch.int32, device=torch.device("meta")).device.type == "meta"
