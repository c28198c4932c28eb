"""`NeuralMemory`: a memory as a layer, from tokens to reads, with projections, gates and carried state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.errors import ConfigError, RangeError, ShapeError
from titans_seq.memory.conv import CausalConv
from titans_seq.memory.gates import GateProjection
from titans_seq.memory.spec import MemorySpec, check_positive, memory_spec
from titans_seq.ops import MemoryState, Split
from titans_seq.ops.dispatch import check_backend, run_memory
from titans_seq.ops.linear import Linear
from titans_seq.ops.native import layers as native

LayerState = Mapping[str, Tensor]


@dataclass(frozen=True)
class Reading:
    """What a memory did at every token of a call, (B, H, T), outside the graph: length of the surprise, and gates."""

    surprise: Tensor | None
    learning_rate: Tensor
    forget: Tensor | None
    momentum: Tensor | None


class NeuralMemory(nn.Module):
    """A memory that learns while it reads.

        q, k, v = SiLU(conv(W x)), q and k of length 1 per head
        y = W_o [ RMSNorm(read of the memory) * SiLU(W_g x) ]

    Parameters
    ----------
    d_model : width of the tokens.
    n_heads : memories side by side.
    memory : a name of `titans_seq.memory_names()`, or a `MemorySpec`.
    chunk_size : tokens whose gradients are taken at the same weights. Part of the model: another value is another
        function, not another rounding.
    key_width, value_width : per head; ``d_model // n_heads`` unless given. Exact recall reaches about as many tokens
        back as the key is wide.
    conv_width : of the causal convolutions after the projections.
    forget_init, momentum_init : alpha and eta at the start. A low ``forget_init`` is what lets state outlive the
        training segments.
    max_error : longest error a token may write with. ``"auto"``: twice the root of the value width for linear
        memories with feedback; none for memories that end in a LayerNorm, whose error is bounded.
    backend : ``auto``, ``chunkwise``, ``triton``, or ``recurrent`` (the slow definition).

    Attributes
    ----------
    split : Split or None
        None at first. With ``Split(slices=8)``, backend ``triton`` shares every row's writes between so many programs.

    Examples
    --------
    >>> memory = NeuralMemory(32, n_heads=2, memory="gated_deltanet", chunk_size=8)
    >>> y, state = memory(torch.randn(1, 100, 32))
    >>> more, state = memory(torch.randn(1, 7, 32), state)
    """

    def __init__(
        self,
        d_model: int,
        *,
        n_heads: int = 2,
        memory: str | MemorySpec = "titans_lmm",
        chunk_size: int = 16,
        key_width: int | None = None,
        value_width: int | None = None,
        conv_width: int = 4,
        forget_init: float = 1e-4,
        momentum_init: float = 0.5,
        max_error: float | str | None = "auto",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        check_positive(d_model=d_model, n_heads=n_heads, chunk_size=chunk_size, conv_width=conv_width)
        check_positive(**{n: w for n, w in (("key_width", key_width), ("value_width", value_width)) if w is not None})
        check_backend(backend)
        if key_width is None and d_model % n_heads:
            raise ShapeError(f"d_model must be a multiple of n_heads, found {d_model} and {n_heads}; or give key_width")
        for name, value in (("forget_init", forget_init), ("momentum_init", momentum_init)):
            if not 0 < value < 1:
                raise RangeError(f"{name} must be in (0, 1), found {value}")
        self.spec = memory_spec(memory)
        self.d_model, self.n_heads, self.chunk_size, self.backend = d_model, n_heads, chunk_size, backend
        self.key_width = key_width or d_model // n_heads
        self.value_width = value_width or self.key_width
        self.off = False
        self.split: Split | None = None
        self.readings: list[Reading] | None = None
        self.width = n_heads * (2 * self.key_width + self.value_width)
        if self.spec.structure == "none":
            return
        self.rule = self.spec.rule(self.key_width, self.value_width, max_error=self._clip(max_error))
        start = [self.rule.retention.initial(self.rule.structure) for _ in range(n_heads)]
        self.start = nn.Parameter(torch.stack(start))
        self.qkv = Linear(d_model, self.width, bias=False)
        self.conv = CausalConv(self.width, conv_width)
        self.gates = GateProjection(
            d_model, n_heads, self.spec, self.rule, chunk_size=chunk_size, forget_init=forget_init,
            momentum_init=momentum_init, scale=self._rate_scale(),
        )  # fmt: skip
        self.norm = nn.Parameter(torch.ones(n_heads, 1, self.value_width))
        self.gate = Linear(d_model, n_heads * self.value_width, bias=False)
        self.out = Linear(n_heads * self.value_width, d_model, bias=False)

    def _clip(self, max_error: float | str | None) -> float | None:
        if isinstance(max_error, str) and max_error != "auto":
            raise ConfigError(f"max_error must be a number, None or 'auto', found {max_error!r}")
        if not isinstance(max_error, str):
            return None if max_error is None else float(max_error)
        bounded = self.spec.structure == "mlp" or self.spec.bias == "dot_product"
        return None if bounded else 2 * self.value_width**0.5

    def _rate_scale(self) -> float:
        """Share of the nominal learning rate that suits this structure and gate (see `gates`)."""
        structure, gate = self.rule.structure, self.rule.retention
        scale = 1.0 / structure.shapes[-1][1] if len(structure.shapes) > 1 else 1.0
        if not gate.linear:
            # The last layer takes most of a write; Moneta's first has a slope a hundred times steeper.
            scale /= float(gate.slope(structure.split(self.start.detach())[-1]).mean())
        return scale

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """State before the first token: weights W_0 (learned), momentum, anchor, the convolution's tail."""
        if self.spec.structure == "none":
            return {}
        start = self.start.float() if self.start.dtype.itemsize < 4 else self.start
        if self.rule.retention.precise and start.device.type != "mps":  # which has no float64
            start = start.double()
        fresh = MemoryState.fresh(self.rule, start, batch)
        return {**_unpack(fresh), "conv": self.conv.empty(batch)}

    def forward(
        self, x: Tensor, state: LayerState | None = None, mask: Tensor | None = None, *, position: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Read and write ``x``.

        Parameters
        ----------
        x : (B, T, d_model). mask : (B, T) bool, False where a token must leave the memory untouched.
        state : what an earlier call returned; None starts anew.
        position : tokens read before this call. An encoder passes it; alone, the state's own count is used.

        Returns
        -------
        y : (B, T, d_model), and the state after.
        """
        if x.ndim != 3 or x.shape[-1] != self.d_model:
            raise ShapeError(f"x must be (batch, tokens, {self.d_model}), found {tuple(x.shape)}")
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            found = f"{mask.dtype} {tuple(mask.shape)}"
            raise ShapeError(f"mask must be bool of shape {tuple(x.shape[:2])} (True = a real token), found {found}")
        alone = position is None
        if state is None:
            state = self.initial_state(x.shape[0])
            position = position or 0
        elif position is None:
            position = int(state["position"])
        if self.spec.structure == "none":
            after = dict(state)
            y = torch.zeros_like(x)
        else:
            y, after = self._run(x, state, mask, position)
        if alone:
            after["position"] = torch.tensor(position + x.shape[1])
        return y, after

    def _run(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if state["weights"].shape[0] != x.shape[0]:
            raise ShapeError(f"the state holds {state['weights'].shape[0]} rows, but x has {x.shape[0]}")
        projected = self.qkv(x)
        products, dtype = projected.dtype, state["weights"].dtype
        q, k, v, tail = self._prepare(projected, state["conv"], dtype)
        with torch.autocast(x.device.type, enabled=False):
            gates = self.gates(x.to(dtype), mask)
            packed = _pack(state, position)
            reads, surprise, after = run_memory(
                q, k, v, gates, packed, rule=self.rule, chunk_size=self.chunk_size, backend=self.backend,
                products=products, split=self.split,
            )  # fmt: skip
        if self.readings is not None:
            seen = (gates.learning_rate, gates.forget, gates.momentum)
            rate, forget, momentum = (None if g is None else g.detach() for g in seen)
            assert rate is not None
            self.readings.append(Reading(surprise, rate, forget, momentum))
        return self._finish(reads, x), {**_unpack(after), "conv": tail}

    def _prepare(self, x: Tensor, tail: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries and keys of length 1, values, (B, H, T, .), and the convolution's next tail."""
        if native.available(x, tail, self.conv.weight) and x.dtype == dtype:
            q, k, v = native.memory_inputs(x, tail, self.conv.weight, heads=self.n_heads, key=self.key_width)
            return q, k, v, self.conv.next_tail(x, tail)
        h, after = self.conv(x, tail)
        h = F.silu(h, inplace=not torch.is_grad_enabled()).unflatten(-1, (self.n_heads, -1)).transpose(1, 2).to(dtype)
        q, k, v = h.split([self.key_width, self.key_width, self.value_width], -1)
        return F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, after

    def _finish(self, reads: Tensor, x: Tensor) -> Tensor:
        if self.off:
            reads = torch.zeros_like(reads)
        gate = self.gate(x)
        if native.available(reads, gate, self.norm):
            return self.out(native.memory_outputs(reads, gate, self.norm, eps=1e-6))
        normal = F.rms_norm(reads, reads.shape[-1:], eps=1e-6) * self.norm
        y = normal.transpose(1, 2).flatten(2).to(x.dtype)
        return self.out(y * F.silu(gate))

    def recall(self, q: Tensor, dual: Tensor) -> Tensor:
        """Read frozen weights: ``q`` (B, H, T, D) of length 1, ``dual`` (B, H, size) -> (B, H, T, D_v), normalised."""
        structure, gate = self.rule.structure, self.rule.retention
        with torch.autocast(q.device.type, enabled=False):
            weights = dual if gate.linear else structure.join([gate.link(a) for a in structure.split(dual)])
            reads = structure.apply(weights, q.to(dual.dtype))
            if self.off:
                reads = torch.zeros_like(reads)
            return F.rms_norm(reads, reads.shape[-1:], eps=1e-6)


def _pack(state: LayerState, position: int) -> MemoryState:
    return MemoryState(state["weights"], state.get("momentum"), state["anchor"], state["written"], position)


def _unpack(state: MemoryState) -> dict[str, Tensor]:
    parts = {"weights": state.weights, "anchor": state.anchor, "written": state.written}
    return parts if state.momentum is None else {**parts, "momentum": state.momentum}
