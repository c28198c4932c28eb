"""What a table holds: the state that reading changes in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.errors import StateMismatchError
from titans_seq.memory.table_copies import Followed
from titans_seq.memory.table_layout import HITS, Layout, TableSpec
from titans_seq.memory.table_pages import zeros_in_large_pages
from titans_seq.memory.table_slots import Slots


@dataclass(slots=True)
class TableState:
    """Tables of parallel streams. **Reading changes it in place**, as its planes may be of hundreds of megabytes.

    To go two ways from one point, `fork` it before.

    Attributes
    ----------
    layout : sizes.
    position : tokens read since the streams began; chunk borders are its multiples.
    slots : counts and check bits of all orders and rows.
    places : int32 (B x K' x places)
        Position behind the last sight of each k-mer; 0 for none. The plane that a search for repeats reads.
    tokens : uint8 (B, capacity)
        The latest tokens, at their position modulo the capacity.
    planes : int64 (B, capacity) twice
        The same tokens packed by `Packing`: latest lowest, oldest lowest.
    followed : where the copies stood at the last border.
    best : int64 (B, K)
        Likeliest next token of each order at the last border.
    hits : bool (B, 16, K)
        Which of its latest predictions were right.
    """

    layout: Layout
    position: int
    slots: Slots
    places: Tensor
    tokens: Tensor
    planes: tuple[Tensor, Tensor]
    followed: Followed
    best: Tensor
    hits: Tensor

    @classmethod
    def empty(cls, layout: Layout, rows: int, *, device: torch.device) -> TableState:
        """Nothing was read yet."""
        spec = layout.spec
        zeros = zeros_in_large_pages
        packed = zeros(rows, layout.capacity, dtype=torch.long, device=device)
        mirrored = packed if spec.complement is None else zeros(rows, layout.capacity, dtype=torch.long, device=device)
        return cls(
            layout=layout,
            position=0,
            slots=Slots.empty(rows * sum(layout.regions), alphabet=spec.alphabet, device=device),
            places=zeros(rows * len(spec.copies) * layout.places, dtype=torch.int32, device=device),
            tokens=torch.full((rows, layout.capacity), spec.alphabet, dtype=torch.uint8, device=device),
            planes=(packed, mirrored),
            followed=Followed.none(rows, len(spec.followed), device=device),
            best=torch.full((rows, len(spec.orders)), spec.alphabet, dtype=torch.long, device=device),
            hits=torch.zeros(rows, HITS, len(spec.orders), dtype=torch.bool, device=device),
        )

    @property
    def rows(self) -> int:
        """Streams read side by side."""
        return self.tokens.shape[0]

    def append(self, tokens: Tensor) -> None:
        """Put tokens (B, T) behind the others."""
        self.tokens[:, self._wrapped(self.position, tokens.shape[1])] = tokens.to(torch.uint8)
        self.position += tokens.shape[1]

    def latest_tokens(self, count: int) -> Tensor:
        """The last ``count`` tokens, (B, count) int64; unknown before the first."""
        return self.tokens[:, self._wrapped(self.position - count, count)].long()

    def pack(self, latest_low: Tensor, oldest_low: Tensor | None) -> None:
        """Keep the packed windows (B, T) of the tokens that came last."""
        at = self._wrapped(self.position - latest_low.shape[1], latest_low.shape[1])
        self.planes[0][:, at] = latest_low
        if oldest_low is not None:
            self.planes[1][:, at] = oldest_low

    def reset(self, rows: Tensor) -> None:
        """Empty the tables of the rows marked in ``rows`` (B,) bool; the position goes on."""
        fresh = {"tokens": self.layout.spec.alphabet, "best": self.layout.spec.alphabet}
        for name, value in self.tensors().items():
            if name in ("position", "expected"):
                continue
            for row in rows.nonzero().flatten().tolist():
                value[row] = fresh.get(name, 0)

    def fork(self) -> TableState:
        """A copy with a life of its own."""
        mine = {name: value.clone() for name, value in self.tensors().items()}
        return self.from_tensors(mine, self.layout.spec)

    def tensors(self) -> dict[str, Tensor]:
        """All of it under flat names, rows first; the tensors themselves, not copies."""
        named = {
            "position": torch.tensor(self.position),
            "expected": torch.tensor(self.layout.tokens),
            "slots": self.slots.plane.view(self.rows, -1, self.slots.plane.shape[1]),
            "places": self.places.view(self.rows, -1, self.layout.places),
            "tokens": self.tokens,
            "latest_low": self.planes[0],
            "offset": self.followed.offset,
            "live": self.followed.live,
            "clean": self.followed.clean,
            "best": self.best,
            "hits": self.hits,
        }
        return named if self.layout.spec.complement is None else named | {"oldest_low": self.planes[1]}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: TableSpec) -> TableState:
        """The inverse of `tensors`, for a table of the same making; takes the tensors over.

        Raises
        ------
        StateMismatchError
            The tensors are of another table.
        """
        rows = tensors["tokens"].shape[0]
        layout = Layout(spec, int(tensors["expected"]))
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        own = cls.empty(layout, 1, device=torch.device("meta")).tensors()
        for name, value in own.items():
            found = tensors.get(name)
            if found is None or found.numel() != value.numel() * (rows if value.ndim else 1):
                size = "nothing" if found is None else tuple(found.shape)
                raise StateMismatchError(
                    f"the state is of another table: {name} is {size}; use the table it was made by"
                )
        packed = tensors["latest_low"]
        return cls(
            layout=layout,
            position=int(tensors["position"]),
            slots=Slots(tensors["slots"].flatten(0, 1)),
            places=tensors["places"].reshape(-1),
            tokens=tensors["tokens"],
            planes=(packed, tensors.get("oldest_low", packed)),
            followed=Followed(tensors["offset"], tensors["live"], tensors["clean"]),
            best=tensors["best"],
            hits=tensors["hits"],
        )

    def _wrapped(self, first: int, count: int) -> Tensor:
        return torch.arange(first, first + count, device=self.tokens.device) & (self.layout.capacity - 1)
