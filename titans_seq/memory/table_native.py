"""The table in compiled code: the same readings and states as `titans_seq.memory.table`, bit for bit, and faster.

`compiled` gives the reader of a layout, or None where there is no compiled library; then the definition in torch reads.
The library works on the state's own planes in place, on the CPU; rows go side by side on torch's threads.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from torch import Tensor

from titans_seq.memory.table_keys import powers
from titans_seq.memory.table_layout import Layout
from titans_seq.memory.table_packing import Packing
from titans_seq.memory.table_state import TableState
from titans_seq.ops.native import library


class _Layout(ctypes.Structure):
    _fields_ = tuple(
        [(name, ctypes.c_int64) for name in (
            "alphabet", "chunk", "lead", "width", "bits", "tolerance", "capacity", "places", "slots",
            "orders", "lengths", "copies", "first_sight", "certain",
        )]
        + [(name, ctypes.c_void_p) for name in (
            "key_length", "key_mask", "order_start", "copy_length", "copy_reverse", "copy_number", "complement",
            "up", "down",
        )]
    )  # fmt: skip


_STATE = (
    "slots", "places", "tokens", "latest_low", "oldest_low", "offset", "live", "clean", "best", "hits",
)  # fmt: skip
_READING = ("counts", "hits", "symbol", "source", "run", "misses")


class _State(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in _STATE)


class _Reading(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in _READING)


class CompiledTable:
    """Reads and writes the states of one layout.

    Parameters
    ----------
    layout : sizes.
    lead : tokens before a chunk that its keys and windows reach back to.
    """

    def __init__(self, layout: Layout, lead: int, kernels: ctypes.CDLL) -> None:
        spec, packing = layout.spec, Packing(layout.spec.alphabet)
        self._read = kernels.titans_table_read
        self._read.restype = ctypes.c_int
        self._shapes = len(spec.orders), len(spec.followed), spec.alphabet
        sizes = [*zip(spec.orders, layout.slots, strict=True), *((k, layout.places) for k in spec.copies)]
        starts = [sum(layout.regions[:number]) for number in range(len(spec.orders))]
        self._kept = {
            "key_length": torch.tensor([k for k, _ in sizes]),
            "key_mask": torch.tensor([-1 if size == spec.alphabet**k else size - 1 for k, size in sizes]),
            "order_start": torch.tensor(starts),
            "copy_length": torch.tensor([k for k, _ in spec.followed]),
            "copy_reverse": torch.tensor([int(reverse) for _, reverse in spec.followed]),
            "copy_number": torch.tensor([spec.copies.index(k) for k, _ in spec.followed]),
            "up": powers(lead + spec.chunk + 1),
            "down": powers(lead + spec.chunk + 1, inverse=True),
        }
        if spec.complement is not None:
            self._kept["complement"] = torch.tensor([*spec.complement, spec.alphabet], dtype=torch.uint8)
        self._layout = _Layout(
            alphabet=spec.alphabet, chunk=spec.chunk, lead=lead, width=packing.width, bits=packing.bits,
            tolerance=spec.tolerance, capacity=layout.capacity, places=layout.places, slots=sum(layout.regions),
            orders=len(spec.orders), lengths=len(spec.copies), copies=len(spec.followed),
            first_sight=int(spec.sight == "first"),
            certain=spec.certain,
            **{name: value.data_ptr() for name, value in self._kept.items()},
        )  # fmt: skip

    def read(self, tokens: Tensor, state: TableState) -> dict[str, Tensor]:
        """Read tokens (B, T) and write them; give the fields of a reading by name."""
        orders, copies, alphabet = self._shapes
        rows, length = tokens.shape
        tokens = tokens.long().contiguous()
        planes = state.tensors()
        planes.setdefault("oldest_low", planes["latest_low"])
        counted = torch.empty(rows, length, orders, alphabet, dtype=torch.uint8)
        copied = torch.empty(4, rows, length, copies, dtype=torch.long)
        said = dict(
            zip(_READING, (counted, torch.empty(rows, length, orders, dtype=torch.uint8), *copied), strict=True)
        )
        made = self._read(
            ctypes.byref(self._layout),
            ctypes.byref(_State(*(planes[name].data_ptr() for name in _STATE))),
            ctypes.c_void_p(tokens.data_ptr()),
            ctypes.c_int64(rows),
            ctypes.c_int64(length),
            ctypes.c_int64(state.position),
            ctypes.byref(_Reading(*(said[name].data_ptr() for name in _READING))),
            torch.get_num_threads(),
        )
        if not made:
            raise MemoryError("no memory for the keys of a chunk")
        state.position += length
        return said


def compiled(state: TableState, lead: int) -> CompiledTable | None:
    """The reader of a state, or None: no library, another device, or slots that 32 bits do not number."""
    kernels = library()
    able = state.tokens.device.type == "cpu" and max(*state.layout.slots, state.layout.places) <= 1 << 32
    if kernels is None or not able:
        return None
    return _compiled(state.layout, lead, kernels)


@lru_cache(maxsize=8)
def _compiled(layout: Layout, lead: int, kernels: ctypes.CDLL) -> CompiledTable:
    return CompiledTable(layout, lead, kernels)
