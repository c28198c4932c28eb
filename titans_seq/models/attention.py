"""Attention over a sliding window with an always-visible persistent prefix, and its carried window.

Queries are taken in blocks of one window; each block sees the window before it and itself, so that memory grows with
T * window and not with T^2. Rotary positions count from the start of a block's keys, which keeps them small and makes
the result depend on distances only. They turn half of every head's channels; persistent keys live in the other half,
so that they look the same from every position. On CUDA one fused kernel (`flex`) does the same; `kernel` chooses.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.errors import ConfigError, ShapeError, unknown_name
from titans_seq.models.flex import flex_window, tell_fallback, why_not_flex
from titans_seq.ops.linear import Linear

KERNELS = ("auto", "blocks", "flex")


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary embedding of the first half of the channels of ``x`` (..., T, D) at ``positions`` (T,).

    Angles are taken in the positions' own type where that is floating, else in float32 at least.
    """
    half = x.shape[-1] // 4  # pairs that are turned
    if half == 0:
        return x
    wide = positions.dtype if positions.is_floating_point() else torch.promote_types(x.dtype, torch.float32)
    speed = 10000.0 ** (-torch.arange(half, device=x.device, dtype=wide) / half)
    angle = positions.to(wide)[:, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)


class PersistentTokens(nn.Module):
    """N_p learned keys and values per head, the same for every input (Titans Eq. 19)."""

    def __init__(self, n_heads: int, count: int, width: int) -> None:
        super().__init__()
        self.count = count
        turned = 2 * (width // 4)
        self.turned = turned
        self.key = nn.Parameter(torch.randn(n_heads, count, width - turned) * 0.02)
        self.value = nn.Parameter(torch.randn(n_heads, count, width) * 0.02)

    def keys(self) -> Tensor:
        """(H, N_p, D), zero in the channels that rotary positions turn."""
        return F.pad(self.key, (self.turned, 0))

    def attend(self, q: Tensor) -> Tensor:
        """Attention to the persistent tokens alone: ``q`` (B, H, T, D)."""
        k, v = self.keys().to(q.dtype), self.value.to(q.dtype)
        batch = q.shape[0]
        return F.scaled_dot_product_attention(q, k.expand(batch, *k.shape), v.expand(batch, *v.shape))


class SlidingWindowAttention(nn.Module):
    """Token t attends to the persistent tokens and to tokens t - window < s <= t.

    Shapes: x (B, T, d_model). State: ``k, v`` (B, H, window - 1, D) before rotation, ``live`` (B, window - 1) bool.

    Attributes
    ----------
    kernel : ``auto`` (``flex`` on CUDA where it can run, else ``blocks``), or one by name. Each is the same
        function; on a CPU ``flex`` runs uncompiled and without gradients, for tests.
    """

    kernel = "auto"

    def __init__(self, d_model: int, *, n_heads: int, window: int, persistent: int) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ShapeError(f"d_model must be a multiple of n_heads, found {d_model} and {n_heads}")
        self.n_heads, self.window, self.width = n_heads, window, d_model // n_heads
        self.qkv = Linear(d_model, 3 * d_model, bias=False)
        self.out = Linear(d_model, d_model, bias=False)
        self.persistent = PersistentTokens(n_heads, persistent, self.width)

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """An empty window."""
        weight = self.out.weight
        empty = weight.new_zeros(batch, self.n_heads, self.window - 1, self.width)
        live = torch.zeros(batch, self.window - 1, dtype=torch.bool, device=weight.device)
        return {"k": empty, "v": empty, "live": live}

    def forward(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs like ``x``, and the window after."""
        batch, tokens, _ = x.shape
        if tokens == 0:
            return x, dict(state)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, self.width)).permute(2, 0, 3, 1, 4)
        before = self.window - 1
        k = torch.cat([state["k"].to(k.dtype), k], 2)
        v = torch.cat([state["v"].to(v.dtype), v], 2)
        live = torch.cat([state["live"], state["live"].new_ones(batch, tokens)], 1)
        kept = slice(k.shape[2] - before, None)
        after = {
            "k": k[:, :, kept].to(state["k"].dtype), "v": v[:, :, kept].to(state["v"].dtype), "live": live[:, kept],
        }  # fmt: skip
        y = self._flex(q, k, v, live) if self._wants_flex(q) else None
        if y is None:
            y = self._blocks(q, k, v, live)
        return self.out(y.transpose(1, 2).flatten(2)), after

    def _wants_flex(self, q: Tensor) -> bool:
        if self.kernel not in KERNELS:
            raise unknown_name("attention kernel", self.kernel, KERNELS)
        if self.kernel == "blocks":
            return False
        reason = why_not_flex(q)
        if reason is None:
            return True
        if self.kernel == "flex" and q.is_cuda:
            raise ConfigError(f"attention kernel 'flex' cannot run here: {reason}; 'auto' runs it otherwise")
        if q.is_cuda:
            tell_fallback(reason)
        return self.kernel == "flex"

    def _flex(self, q: Tensor, k: Tensor, v: Tensor, live: Tensor) -> Tensor | None:
        """Fused, (B, H, T, D); None where its compilation fails under ``auto``."""
        before, batch = self.window - 1, q.shape[0]
        at = torch.arange(k.shape[2], device=q.device, dtype=torch.float64)
        pk, pv = (p.to(k.dtype).expand(batch, -1, -1, -1) for p in (self.persistent.keys(), self.persistent.value))
        keys, values = torch.cat([pk, rotate(k, at)], 2), torch.cat([pv, v], 2)
        try:
            return flex_window(
                rotate(q, at[before:]), keys, values, live, window=self.window, prefix=self.persistent.count
            )
        except RuntimeError as error:  # torch's compiler raises many kinds, all of which are one of these
            if self.kernel == "flex" or isinstance(error, torch.OutOfMemoryError):
                raise
            tell_fallback(f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
            self.kernel = "blocks"
            return None

    def _blocks(self, q: Tensor, k: Tensor, v: Tensor, live: Tensor) -> Tensor:
        """Blocks of one window, (B, H, T, D)."""
        tokens, before = q.shape[2], self.window - 1
        block = min(self.window, tokens)
        blocks = -(-tokens // block)
        spare = blocks * block - tokens
        q = F.pad(q, (0, 0, 0, spare)).unflatten(2, (blocks, block))
        k, v = (F.pad(t, (0, 0, 0, spare)).unfold(2, before + block, block).transpose(-1, -2) for t in (k, v))
        seen = F.pad(live, (0, spare)).unfold(1, before + block, block)  # (B, blocks, keys)
        at = torch.arange(before + block, device=q.device)
        q, k = rotate(q, at[before:]), rotate(k, at)
        back = at[before:, None] - at[None, :]
        mask = ((back >= 0) & (back < self.window)) & seen.unsqueeze(-2)  # (B, blocks, block, keys)
        return self._attend(q, k, v, mask).flatten(2, 3)[:, :, :tokens]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attention per block: q (B, H, blocks, block, D), k, v (B, H, blocks, keys, D)."""
        batch, _, blocks, _, _ = q.shape
        n = self.persistent.count
        pk, pv = (p.to(k.dtype)[None, :, None].expand(batch, -1, blocks, -1, -1)
                  for p in (self.persistent.keys(), self.persistent.value))  # fmt: skip
        k, v = torch.cat([pk, k], 3), torch.cat([pv, v], 3)
        mask = F.pad(mask, (n, 0), value=True)
        q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.flatten(0, 1).unsqueeze(1))
        return y.unflatten(0, (batch, blocks)).transpose(1, 2)
