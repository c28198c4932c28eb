"""The table: an associative memory of fixed size that holds a whole chromosome. In MIRAS terms a memory structure.

Keys are hashed contexts of the last k tokens, for several k; values are counts of what followed; the bias is the dot
product, so a write adds a one-hot token to the row of its key. Retention: counts are halved when they are full, of two
slots the less certain one gives way, and if wanted only what an order did not expect is stored (`Slots`). Beside the
counts, the latest sight of some long contexts is kept, and followed token by token through mismatches (`Copies`)::

    counts_k[key_k(s_{<= t-1})][s_t]                  += 1      for each order k
    counts_k[key_k(other strand up to t)][c(s_{t-k})] += 1      where the alphabet has a complement c

Reads at t, for the token t + 1, see what was written up to the last chunk border: tokens are written chunk by chunk at
absolute positions, all of a chunk at once. What a call has read of an unfinished chunk is part of the state and is read
again, so any cut of a stream gives the same numbers, bit for bit. An unknown token writes nothing and no context
reaches across it. Cost for each token: O(orders), whatever stands in the table.

What follows is the definition, in torch, and what runs on a GPU; on a CPU `table_native` gives the same bits faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from titans_seq.errors import ShapeError
from titans_seq.memory.table_copies import Copies, CopyReading, Followed
from titans_seq.memory.table_keys import ContextKeys, Keys
from titans_seq.memory.table_layout import HITS, Layout, TableSpec
from titans_seq.memory.table_native import compiled
from titans_seq.memory.table_packing import Packing
from titans_seq.memory.table_slots import Bucket
from titans_seq.memory.table_state import TableState


@dataclass(frozen=True, slots=True)
class TableReading:
    """What the table says at each position of a call about the next token.

    Attributes
    ----------
    counts : uint8 (B, T, K, A)
        How often each token followed the context of each order.
    hits : uint8 (B, T, K)
        How often the likeliest token of each order was right in the last 16 positions.
    copies : CopyReading
        (B, T, P) each.
    """

    counts: Tensor
    hits: Tensor
    copies: CopyReading


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What reading a chunk leaves for writing it; positions start at the chunk's border."""

    window: Tensor
    complement: Tensor | None
    since: Tensor
    forward: Keys
    reverse: Keys | None
    bucket: Bucket
    best: Tensor
    hits: Tensor
    followed: Followed


class Table:
    """Reads and writes `TableState`, which is changed in place.

    Parameters
    ----------
    spec : what is stored.

    Examples
    --------
    >>> table = Table(TableSpec(orders=(2, 4), copies=(6,)))
    >>> state = table.initial_state(1, tokens=1000)
    >>> reading = table.read(torch.tensor([[0, 1, 2, 3, 0, 1]]), state)   # A C G T A C; state has moved on
    """

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self._lead = max(spec.orders[-1] + 1, spec.copies[-1] + 1, Packing(spec.alphabet).width)

    def initial_state(self, rows: int, *, tokens: int, device: torch.device | str = "cpu") -> TableState:
        """An empty table for each of ``rows`` streams of about ``tokens`` tokens (more only overwrite more)."""
        return TableState.empty(Layout(self.spec, tokens), rows, device=torch.device(device))

    def load_state(self, tensors: Mapping[str, Tensor]) -> TableState:
        """The inverse of `TableState.tensors`."""
        return TableState.from_tensors(tensors, self.spec)

    def read(self, tokens: Tensor, state: TableState) -> TableReading:
        """Read tokens and write them.

        Parameters
        ----------
        tokens : int (B, T)
            From 0 to A - 1; anything above is unknown.
        state : where the streams stand; afterwards, where they stand behind ``tokens``.
        """
        if tokens.ndim != 2 or tokens.shape[0] != state.rows:
            raise ShapeError(f"expected tokens ({state.rows}, T), found {tuple(tokens.shape)}")
        native = compiled(state, self._lead)
        if native is not None:
            said = native.read(tokens, state)
            counts, hits = said.pop("counts"), said.pop("hits")
            return TableReading(counts, hits, CopyReading(**said))
        parts, done = [], 0
        while done < tokens.shape[1]:
            take = min(self.spec.chunk - state.position % self.spec.chunk, tokens.shape[1] - done)
            parts.append(self._advance(tokens[:, done : done + take], state))
            done += take
        return _joined(parts, rows=state.rows, spec=self.spec, device=tokens.device)

    def _advance(self, part: Tensor, state: TableState) -> TableReading:
        """Read what is left of a chunk, or less; write the chunk if that ends it."""
        machine = _machine(state.layout, self._lead, part.device)
        pending, take = state.position % self.spec.chunk, part.shape[1]
        state.append(part.clamp(max=self.spec.alphabet))
        reading, chunk = self._read_chunk(state, pending + take, fresh=take, machine=machine)
        if pending + take == self.spec.chunk:
            self._write(state, chunk, machine)
        return reading

    def _read_chunk(
        self, state: TableState, length: int, *, fresh: int, machine: _Machine
    ) -> tuple[TableReading, _Chunk]:
        """Read the chunk so far, ``length`` tokens, and give what is said at the last ``fresh``."""
        spec, start = self.spec, state.position - length
        window = state.latest_tokens(self._lead + length)
        known = window < spec.alphabet
        place = torch.arange(window.shape[1], device=window.device)
        since = (place - torch.where(known, -1, place).cummax(1).values)[:, self._lead - 1 :]
        window = window.where(known, 0)
        complement = None if machine.complement is None else machine.complement[window]
        forward = machine.keys.forward(window, first=self._lead - 1)
        reverse = None if complement is None else machine.keys.reverse(complement, first=self._lead)
        state.pack(forward.latest_low[:, -fresh:], None if complement is None else forward.oldest_low[:, -fresh:])
        orders = len(spec.orders)
        bucket, said = state.slots.find(
            forward.slot[..., :orders] + machine.base(state.rows), forward.tag[..., :orders]
        )
        counts = said[:, 1:] * (since[:, 1:, None] >= machine.orders).unsqueeze(-1)
        copies, followed = machine.copies.read(
            state.followed,
            self._found(state, forward, reverse, since, machine),
            here=(forward.latest_low[:, 1:], forward.latest_low[:, 1:] if reverse is None else reverse.latest_low),
            planes=state.planes,
            tokens=state.tokens,
            start=start,
        )
        most = counts.max(-1)
        best = torch.where(most.values > 0, most.indices, spec.alphabet)
        predicted = torch.cat([state.best[:, None], best[:, :-1]], 1)
        hit = (predicted == window[:, self._lead :, None]) & known[:, self._lead :, None]
        hits = torch.cat([state.hits, hit], 1)
        total = hits.cumsum(1, dtype=torch.int16)
        recent = (total[:, HITS:] - total[:, :-HITS]).to(torch.uint8)
        reading = TableReading(
            counts[:, -fresh:],
            recent[:, -fresh:],
            CopyReading(*(getattr(copies, name)[:, -fresh:] for name in ("symbol", "source", "run", "misses"))),
        )
        last, latest = best[:, -1].contiguous(), hits[:, -HITS:].contiguous()
        chunk = _Chunk(window, complement, since, forward, reverse, bucket, last, latest, followed)
        return reading, chunk

    def _found(
        self, state: TableState, forward: Keys, reverse: Keys | None, since: Tensor, machine: _Machine
    ) -> Tensor:
        """Where the last k-mers, and their reverse complements, were last written: (B, T, K') or (B, T, 2 K')."""
        orders = len(self.spec.orders)
        slots = forward.slot[:, 1:, orders:]
        if reverse is not None:
            slots = torch.cat([slots, reverse.slot[..., orders:]], -1)
        strands = len(self.spec.strands)
        places = state.places[slots + machine.place_base(state.rows).repeat(1, 1, strands)].long()
        return places * (since[:, 1:, None] >= machine.lengths.repeat(strands))

    def _write(self, state: TableState, chunk: _Chunk, machine: _Machine) -> None:
        """Write a whole chunk: counts on both strands, last sights, and what is carried on."""
        orders, base = len(self.spec.orders), machine.base(state.rows)
        whole = chunk.since[:, 1:, None] > machine.orders
        keys = [(chunk.forward.slot[:, :-1, :orders] + base, chunk.forward.tag[:, :-1, :orders])]
        # What was looked up for reading still stands: nothing was written since.
        buckets = [Bucket(chunk.bucket.tags[:, :-1], chunk.bucket.counts[:, :-1])]
        symbols = [chunk.window[:, self._lead :, None].expand_as(whole)]
        if chunk.reverse is not None and chunk.complement is not None:
            keys.append((chunk.reverse.slot[..., :orders] + base, chunk.reverse.tag[..., :orders]))
            buckets.append(state.slots.look(keys[1][0]))
            place = torch.arange(self._lead, chunk.window.shape[1], device=whole.device)[:, None] - machine.orders
            symbols.append(chunk.complement[:, place])
        write = whole.flatten().repeat(len(keys)).nonzero().flatten()
        slot, tag, symbol, tags, counts, moves = (
            torch.cat([part.flatten(0, 2) for part in parts]).index_select(0, write)
            for parts in (
                [slot for slot, _ in keys],
                [tag for _, tag in keys],
                symbols,
                [bucket.tags for bucket in buckets],
                [bucket.counts for bucket in buckets],
                [machine.moves.expand_as(whole)] * len(keys),
            )
        )
        state.slots.add(slot, tag, symbol, moves=moves, bucket=Bucket(tags, counts), certain=self.spec.certain)
        behind = torch.arange(self.spec.chunk, device=whole.device)[:, None] + (state.position - self.spec.chunk + 1)
        place = chunk.forward.slot[:, 1:, orders:] + machine.place_base(state.rows)
        seen = chunk.since[:, 1:, None] >= machine.lengths
        place, position = place[seen], behind.expand_as(place)[seen].int()
        if self.spec.sight == "first":
            new = (state.places[place] == 0).nonzero().flatten()
            place, position = place[new], position[new]
            # Of those that are new in this chunk the smallest position stays.
            state.places.index_fill_(0, place, torch.iinfo(torch.int32).max)
        state.places.scatter_reduce_(0, place, position, "amin" if self.spec.sight == "first" else "amax")
        state.best, state.hits, state.followed = chunk.best, chunk.hits, chunk.followed


class _Machine:
    """What follows from a layout alone: keys, offsets of the regions, the copies' rules."""

    def __init__(self, layout: Layout, lead: int, device: torch.device) -> None:
        spec = layout.spec
        self.complement = None
        if spec.complement is not None:
            self.complement = torch.tensor([*spec.complement, spec.alphabet], device=device)
        self.keys = ContextKeys(
            (*spec.orders, *spec.copies),
            slots=(*layout.slots, *(layout.places for _ in spec.copies)),
            packing=Packing(spec.alphabet),
            longest=lead + spec.chunk,
            device=device,
        )
        self.orders = torch.tensor(spec.orders, device=device)
        self.lengths = torch.tensor(spec.copies, device=device)
        # A hashed context has a second slot beside its first; one that is addressed by its code has its own.
        hashed = [size != spec.alphabet**k for k, size in zip(spec.orders, layout.slots, strict=True)]
        self.moves = torch.tensor(hashed, device=device)
        self._sizes = torch.tensor(layout.regions, device=device)
        self._places = layout.places
        self.copies = Copies(
            spec.followed,
            packing=Packing(spec.alphabet),
            tolerance=spec.tolerance,
            capacity=layout.capacity,
            complement=self.complement,
            device=device,
        )

    def base(self, rows: int) -> Tensor:
        """First slot of each order of each row, (B, 1, K)."""
        row = torch.arange(rows, device=self._sizes.device)[:, None, None] * self._sizes.sum()
        return row + (self._sizes.cumsum(0) - self._sizes)

    def place_base(self, rows: int) -> Tensor:
        """First place of each copy length of each row, (B, 1, K')."""
        count = len(self.lengths)
        numbers = torch.arange(rows * count, device=self._sizes.device)
        return numbers.view(rows, 1, count) * self._places


@lru_cache(maxsize=8)
def _machine(layout: Layout, lead: int, device: torch.device) -> _Machine:
    return _Machine(layout, lead, device)


def _joined(parts: list[TableReading], *, rows: int, spec: TableSpec, device: torch.device) -> TableReading:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        orders, copies = len(spec.orders), len(spec.followed)
        none = torch.zeros(rows, 0, copies, dtype=torch.long, device=device)
        counts = torch.zeros(rows, 0, orders, spec.alphabet, dtype=torch.uint8, device=device)
        return TableReading(counts, counts[..., 0], CopyReading(none, none, none, none))
    names = ("symbol", "source", "run", "misses")
    return TableReading(
        torch.cat([part.counts for part in parts], 1),
        torch.cat([part.hits for part in parts], 1),
        CopyReading(*(torch.cat([getattr(part.copies, name) for part in parts], 1) for name in names)),
    )
