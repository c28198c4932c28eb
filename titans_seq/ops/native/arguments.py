"""The argument block of `chunk.h`, field for field."""

from __future__ import annotations

import ctypes

from torch import Tensor

LAYERS = 8

_SIZES = ("rows", "heads", "tokens", "chunk", "offset", "threads", "layers")
_KINDS = ("bias", "activation", "normalised", "residual")
_POINTERS = (
    "q", "k", "v", "rate", "forget", "momentum", "mask", "start", "anchor", "saved", "y", "surprise", "end",
    "last_anchor", "y_bar", "end_bar", "last_anchor_bar", "q_bar", "k_bar", "v_bar", "rate_bar", "forget_bar",
    "momentum_bar", "start_bar", "anchor_bar",
)  # fmt: skip


class ChunkCall(ctypes.Structure):
    """``struct chunk_call``."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in _SIZES),
        ("widths", ctypes.c_int64 * (LAYERS + 1)),
        *((name, ctypes.c_int64) for name in _KINDS),
        ("max_error", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in _POINTERS),
    )


def pointer(x: Tensor | None) -> int | None:
    """Address of a contiguous tensor's first number."""
    if x is None:
        return None
    assert x.is_contiguous()
    return x.data_ptr()
