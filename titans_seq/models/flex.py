"""Sliding-window attention as one fused kernel (`torch.nn.attention.flex_attention`), for CUDA.

The same function as the blocks of `attention`, without their masks and without keys laid out twice. Keys are
[persistent | window before | tokens]; which tiles of 128 x 128 hold anything is arithmetic, so that no mask of size
T x T is made to find out. Rotary angles are taken in float64, because positions here run to the end of the call.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)
_TILE = 128


def why_not_flex(q: Tensor) -> str | None:
    """Why the fused kernel cannot take queries (B, H, T, D), or None where it can."""
    if q.device.type != "cuda":
        return f"the tensors are on {q.device.type}"
    if q.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"it has no kernel for {q.dtype}"
    if q.shape[-1] < 16 or q.shape[-1] & (q.shape[-1] - 1):
        return f"a head is {q.shape[-1]} wide, not a power of two from 16 on"
    if q.shape[2] < _TILE:
        return f"{q.shape[2]} tokens are less than a tile of {_TILE}"
    if torch.compiler.is_compiling():
        return "the model is being compiled as a whole"
    return None


def flex_window(q: Tensor, k: Tensor, v: Tensor, live: Tensor, *, window: int, prefix: int) -> Tensor:
    """Attention of every token to the prefix and to the ``window`` tokens that end with it.

    Parameters
    ----------
    q : (B, H, T, D), turned.
    k, v : (B, H, prefix + window - 1 + T, D), turned: persistent tokens, the window before, the call's tokens.
    live : (B, window - 1 + T) bool, False where the window before is still empty.

    Returns
    -------
    y : (B, H, T, D).
    """
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    tokens, before = q.shape[2], window - 1

    def visible(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        at = j - prefix
        back = i + before - at
        return (at < 0) | ((back >= 0) & (back < window) & live[b, at.clamp(min=0)])

    count, order = _tiles(tokens, window, prefix, q.device)
    mask = BlockMask.from_kv_blocks(
        count.expand(q.shape[0], 1, -1), order.expand(q.shape[0], 1, -1, -1), BLOCK_SIZE=_TILE, mask_mod=visible,
        seq_lengths=(tokens, k.shape[2]),
    )  # fmt: skip
    run: Any = _compiled(flex_attention) if q.is_cuda else flex_attention
    y = run(q, k, v, block_mask=mask)
    assert isinstance(y, Tensor)
    return y


@functools.lru_cache(maxsize=8)
def _tiles(tokens: int, window: int, prefix: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of every tile of queries, how many tiles of keys it sees (1, 1, tiles), and their numbers, those first."""
    rows = torch.arange(-(-tokens // _TILE), device=device)[:, None]
    columns = torch.arange(-(-(prefix + window - 1 + tokens) // _TILE), device=device)[None, :]
    first = (rows * _TILE + prefix) // _TILE
    last = (rows * _TILE + _TILE - 1 + window - 1 + prefix) // _TILE
    seen = ((columns >= first) & (columns <= last)) | (columns * _TILE < prefix)
    count = seen.sum(-1, dtype=torch.int32)
    order = seen.int().argsort(dim=-1, descending=True, stable=True).int()
    return count[None, None], order[None, None]


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Fused, or an error: uncompiled, flex_attention would hold all T x T scores."""
    return torch.compile(function, fullgraph=True)


@functools.cache
def tell_fallback(reason: str) -> None:
    """Log once per reason that attention runs in blocks on CUDA."""
    log.info("sliding-window attention runs in blocks: %s", reason)
