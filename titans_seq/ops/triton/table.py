"""The associative table on a GPU: reading buckets, and the conflict rules of a write, without asking the host anything.

The same numbers as `titans_seq.memory.table_slots`, bit for bit, whose words are used here. Events of a write meet in
slots, and a rule may only look at what all events have done before, so a write is four launches::

    claim    events whose context is not there empty the slot that they take
    (torch)  the largest check bits that want a slot stay in it: scatter_reduce amax
    halve    full counts of contexts that are still there
    count    one more for each event whose check bits stand in its slot

A count is a byte; it is added to in the word of 32 bits around it, as there are no additions of bytes, and never
carries into the next: it holds at most `CAP` before a chunk, which brings at most 128 more.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK: Final = 128


@triton.jit
def look_up_forward(plane, checks, slot, tag, tags, counts, said, events, A: tl.constexpr, WIDE: tl.constexpr,
                    BLOCK: tl.constexpr):  # fmt: skip
    """Both slots of each event's bucket, ``tags`` (N, 2) and ``counts`` (N, 2, A), and ``said`` (N, A): the counts
    whose check bits are the event's. ``checks`` is ``plane`` in units of 16 bits, WIDE the power of two from A on."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = e < events
    bucket = tl.load(slot + e, mask=live, other=0) >> 1
    own = tl.load(tag + e, mask=live, other=0)
    one = tl.load(checks + bucket * (A + 2) + A, mask=live, other=0)
    two = tl.load(checks + bucket * (A + 2) + A + 1, mask=live, other=0)
    tl.store(tags + 2 * e, one, mask=live)
    tl.store(tags + 2 * e + 1, two, mask=live)
    a = tl.arange(0, WIDE)[None, :]
    inside = live[:, None] & (a < A)
    left = tl.load(plane + bucket[:, None] * (2 * A + 4) + a, mask=inside, other=0)
    right = tl.load(plane + bucket[:, None] * (2 * A + 4) + A + a, mask=inside, other=0)
    tl.store(counts + e[:, None] * (2 * A) + a, left, mask=inside)
    tl.store(counts + e[:, None] * (2 * A) + A + a, right, mask=inside)
    found = tl.where((one == own)[:, None], left, right * (two == own)[:, None].to(tl.uint8))
    tl.store(said + e[:, None] * A + a, found, mask=inside)


@triton.jit
def _event(e, live, slot, tag, moves, tags, counts, A: tl.constexpr, WIDE: tl.constexpr):
    """Bucket and check bits of events, the side on which they lie or shall lie, whether they were there, and the counts
    of that side before any write (BLOCK, WIDE)."""
    at = tl.load(slot + e, mask=live, other=0)
    own = tl.load(tag + e, mask=live, other=0)
    one = tl.load(tags + 2 * e, mask=live, other=0) == own
    two = tl.load(tags + 2 * e + 1, mask=live, other=0) == own
    a = tl.arange(0, WIDE)[None, :]
    inside = live[:, None] & (a < A)
    left = tl.load(counts + e[:, None] * (2 * A) + a, mask=inside, other=0).to(tl.int32)
    right = tl.load(counts + e[:, None] * (2 * A) + A + a, mask=inside, other=0).to(tl.int32)
    lighter = (tl.sum(right, 1) < tl.sum(left, 1)).to(tl.int64)
    free = tl.where(tl.load(moves + e, mask=live, other=0) != 0, lighter, at & 1)
    found = one | two
    side = tl.where(found, two.to(tl.int64), free)
    return at >> 1, own, side, found, tl.where((side != 0)[:, None], right, left)


@triton.jit
def _passed(e, live, symbol, found, before, WIDE: tl.constexpr, CERTAIN: tl.constexpr):
    """Whether an event is left out, as its context was certain of it."""
    a = tl.arange(0, WIDE)[None, :]
    told = tl.sum(tl.where(a == tl.load(symbol + e, mask=live, other=0)[:, None], before, 0), 1)
    return found & (CERTAIN > 0) & (told >= CERTAIN) & (told == tl.sum(before, 1))


@triton.jit
def claim_forward(plane, checks, slot, tag, moves, tags, counts, place, claim, events, A: tl.constexpr,
                  WIDE: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Empty the slots that new contexts take; ``place`` (N,) is where an event's check bits lie in ``checks``,
    ``claim`` (N,) what it wants there, 0 for nothing."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = e < events
    bucket, own, side, found, _ = _event(e, live, slot, tag, moves, tags, counts, A, WIDE)
    at = bucket * (A + 2) + A + side
    new = live & (found == 0)
    tl.store(place + e, at, mask=live)
    tl.store(claim + e, tl.where(found, 0, own.to(tl.int32)).to(tl.int16), mask=live)
    tl.store(checks + at, tl.zeros_like(own), mask=new)
    a = tl.arange(0, WIDE)[None, :]
    empty = tl.zeros((BLOCK, WIDE), tl.uint8)
    tl.store(plane + (bucket * (2 * A + 4) + side * A)[:, None] + a, empty, mask=new[:, None] & (a < A))


@triton.jit
def halve_forward(plane, checks, slot, tag, symbol, moves, tags, counts, events, A: tl.constexpr, WIDE: tl.constexpr,
                  BLOCK: tl.constexpr, CAP: tl.constexpr, CERTAIN: tl.constexpr):  # fmt: skip
    """Halve the counts of contexts that were there, still are, and have one that is full."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = e < events
    bucket, own, side, found, before = _event(e, live, slot, tag, moves, tags, counts, A, WIDE)
    won = tl.load(checks + bucket * (A + 2) + A + side, mask=live, other=0) == own
    passed = _passed(e, live, symbol, found, before, WIDE, CERTAIN)
    full = live & found & won & (tl.max(before, 1) >= CAP) & (passed == 0)
    a = tl.arange(0, WIDE)[None, :]
    at = (bucket * (2 * A + 4) + side * A)[:, None] + a
    tl.store(plane + at, (before >> 1).to(tl.uint8), mask=full[:, None] & (a < A))


@triton.jit
def count_forward(words, checks, slot, tag, symbol, moves, tags, counts, events, A: tl.constexpr, WIDE: tl.constexpr,
                  BLOCK: tl.constexpr, CERTAIN: tl.constexpr):  # fmt: skip
    """Add one for each event whose check bits stand in its slot; ``words`` is the plane in units of 32 bits."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = e < events
    bucket, own, side, found, before = _event(e, live, slot, tag, moves, tags, counts, A, WIDE)
    won = tl.load(checks + bucket * (A + 2) + A + side, mask=live, other=0) == own
    passed = _passed(e, live, symbol, found, before, WIDE, CERTAIN)
    at = bucket * (2 * A + 4) + side * A + tl.load(symbol + e, mask=live, other=0)
    one = tl.full((BLOCK,), 1, tl.int32) << ((at & 3) * 8).to(tl.int32)
    tl.atomic_add(words + (at >> 2), one, mask=live & won & (passed == 0), sem="relaxed")


def look_up(plane: Tensor, slot: Tensor, tag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Buckets of the contexts whose own slot is ``slot`` (...), and what was counted of those with check bits ``tag``.

    Parameters
    ----------
    plane : uint8 (buckets, 2 A + 4)
    slot, tag : int64 and int16, of one shape

    Returns
    -------
    tags, counts, said : int16 (..., 2), uint8 (..., 2, A), uint8 (..., A)
    """
    alphabet, shape = _alphabet(plane), slot.shape
    tags = plane.new_empty((*shape, 2), dtype=torch.int16)
    counts, said = plane.new_empty((*shape, 2, alphabet)), plane.new_empty((*shape, alphabet))
    _launch(
        look_up_forward, slot.numel(), plane, slot=slot.contiguous(), tag=tag.contiguous(), tags=tags, counts=counts,
        said=said,
    )  # fmt: skip
    return tags, counts, said


def add(
    plane: Tensor,
    slot: Tensor,
    tag: Tensor,
    symbol: Tensor,
    *,
    moves: Tensor,
    tags: Tensor,
    counts: Tensor,
    cap: int,
    certain: int,
) -> None:
    """Count what followed each context, in place: `titans_seq.memory.table_slots.Slots.add`; (N,) events.

    Parameters
    ----------
    tags, counts : what `look_up` gave for ``slot``, int16 (N, 2) and uint8 (N, 2, A); nothing was added since.
    cap : a count from which on all of its context are halved before the write.
    certain : sights of the symbol alone from which on an event is passed over; 0 counts all.
    """
    given: dict[str, Any] = {
        "slot": slot.contiguous(), "tag": tag.contiguous(), "symbol": symbol.contiguous(),
        "moves": moves.contiguous().view(torch.uint8), "tags": tags.contiguous(), "counts": counts.contiguous(),
        "CAP": cap, "CERTAIN": certain,
    }  # fmt: skip
    place, claim = torch.empty_like(given["slot"]), torch.empty_like(given["tag"])
    _launch(claim_forward, len(slot), plane, place=place, claim=claim, **given)
    plane.view(torch.int16).view(-1).scatter_reduce_(0, place, claim, "amax")
    _launch(halve_forward, len(slot), plane, **given)
    _launch(count_forward, len(slot), plane, **given)


def _alphabet(plane: Tensor) -> int:
    return plane.shape[1] // 2 - 2


def _launch(kernel: Any, events: int, plane: Tensor, **given: Any) -> None:
    """Run ``kernel`` on so many events, its arguments taken by name."""
    if not events:
        return
    alphabet = _alphabet(plane)
    given |= {
        "plane": plane, "checks": plane.view(torch.int16), "words": plane.view(-1).view(torch.int32), "events": events,
        "A": alphabet, "WIDE": triton.next_power_of_2(alphabet), "BLOCK": block(alphabet),
    }  # fmt: skip
    with torch.cuda.device(plane.device) if plane.is_cuda else nullcontext():
        kernel[(triton.cdiv(events, given["BLOCK"]),)](**{name: given[name] for name in kernel.arg_names})


def block(alphabet: int) -> int:
    """Events of a program: fewer for a large alphabet, whose counts would not stay in registers."""
    return max(16, min(BLOCK, 2048 // triton.next_power_of_2(alphabet)))
