"""Small encoders and random tokens that the tests of `models` and `streaming` share."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from titans_seq.models import VARIANTS, StreamState
from titans_seq.streaming import Encoder

D_MODEL = 16
MEMORIES = ("titans_lmm", "moneta", "yaad", "memora", "mamba2", "gated_deltanet", "none")
PAIRS = [(v, m) for v in VARIANTS for m in MEMORIES]


def build(variant: str = "mac", memory: Any = "titans_lmm", *, seed: int = 0, **options: Any) -> Encoder:
    """A two-layer encoder whose borders, segments and windows lie a few tokens apart."""
    torch.manual_seed(seed)
    sizes = {"d_model": D_MODEL, "chunk_size": 4, "segment": 8, "window": 6, "persistent": 2} | options
    encoder = Encoder(variant=variant, memory=memory, **sizes)
    with torch.no_grad():  # as after some training: gates that differ from token to token
        for name, p in encoder.named_parameters():
            if name.endswith("gates.projection.weight"):
                p.normal_(std=0.3)
    return encoder


def tokens(batch: int, length: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    make = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, D_MODEL, generator=make, dtype=torch.float64).to(dtype)


def in_pieces(
    encoder: Encoder, x: Tensor, cuts: list[int], mask: Tensor | None = None, state: StreamState | None = None
) -> tuple[Tensor, StreamState]:
    """``encoder`` called once per piece, the state handed on; equal cuts give calls without tokens."""
    edges, outputs = [0, *sorted(cuts), x.shape[1]], []
    for start, stop in itertools.pairwise(edges):
        y, state = encoder(x[:, start:stop], state, None if mask is None else mask[:, start:stop])
        outputs.append(y)
    assert state is not None
    return torch.cat(outputs, 1), state


def assert_same_state(found: StreamState, wanted: StreamState, atol: float) -> None:
    assert found.position == wanted.position
    a, b = found.tensors(), wanted.tensors()
    assert a.keys() == b.keys()
    for name, t in a.items():
        torch.testing.assert_close(t, b[name], rtol=atol, atol=atol, msg=lambda m, name=name: f"{name}: {m}")
