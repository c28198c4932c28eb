"""The argument block of `chunk.h`, field for field."""

from __future__ import annotations

import ctypes

from torch import Tensor

from titans_seq.ops.native.room import Room

LAYERS = 8


class Tokens(ctypes.Structure):
    """``struct chunk_tokens``: where a tensor lies, and its strides."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("token", ctypes.c_int64),
    )

    @classmethod
    def of(cls, x: Tensor) -> Tokens:
        """(B, H, T) or (B, H, T, width); vectors without gaps."""
        assert x.ndim == 3 or x.stride(3) == 1
        return cls(x.data_ptr(), *x.stride()[:3])


def _numbers(*names: str) -> tuple[tuple[str, type], ...]:
    return tuple((name, ctypes.c_int64) for name in names)


def _tokens(*names: str) -> tuple[tuple[str, type], ...]:
    return tuple((name, Tokens) for name in names)


def _pointers(*names: str) -> tuple[tuple[str, type], ...]:
    return tuple((name, ctypes.c_void_p) for name in names)


class _Call(ctypes.Structure):
    def put(self, name: str, x: Tensor | Room | None) -> None:
        """Set a field to a tensor: strides and all where it takes them, else contiguous."""
        if x is None:
            return
        if isinstance(getattr(self, name), Tokens):
            assert isinstance(x, Tensor)
            setattr(self, name, Tokens.of(x))
        else:
            assert isinstance(x, Room) or x.is_contiguous()
            setattr(self, name, x.data_ptr())


class LayerCall(_Call):
    """``struct layer_call``."""

    _fields_ = (
        *_numbers("what", "backward", "batch", "tokens", "heads", "key", "value", "width", "threads"),
        ("eps", ctypes.c_double),
        *_pointers("x", "tail", "weight", "gate", "y_bar", "y", "x_bar", "tail_bar", "weight_bar", "gate_bar"),
        *_tokens("q", "k", "v"),
    )


class ChunkCall(_Call):
    """``struct chunk_call``."""

    _fields_ = (
        *_numbers("rows", "heads", "tokens", "chunk", "offset", "threads", "layers"),
        ("widths", ctypes.c_int64 * (LAYERS + 1)),
        *_numbers("bias", "activation", "normalised", "residual"),
        ("max_error", ctypes.c_double),
        ("option", ctypes.c_double),
        *_tokens("q", "k", "v", "rate", "forget", "momentum", "threshold"),
        *_pointers("mask", "start", "anchor", "saved"),
        *_tokens("y", "surprise"),
        *_pointers("end", "last_anchor"),
        *_tokens("y_bar"),
        *_pointers("end_bar", "last_anchor_bar"),
        *_tokens("q_bar", "k_bar", "v_bar", "rate_bar", "forget_bar", "momentum_bar", "threshold_bar"),
        *_pointers("start_bar", "anchor_bar"),
    )
