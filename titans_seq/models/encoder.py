"""`Encoder`: pre-norm residual blocks around a memory, with state carried from call to call."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from titans_seq.errors import ConfigError, ShapeError, unknown_name
from titans_seq.memory import MemorySpec, NeuralMemory, Reading, memory_spec
from titans_seq.memory.spec import check_positive
from titans_seq.models.attention import SlidingWindowAttention
from titans_seq.models.context import ContextMixer
from titans_seq.models.graphs import ReplayedReads, State
from titans_seq.models.layers import RMSNorm, SwiGLU
from titans_seq.models.mixers import AttentionMixer, GatedMixer, LayeredMixer, LayerState, MemoryMixer, Mixer
from titans_seq.models.shards import ShardedMixer
from titans_seq.models.state import StreamState
from titans_seq.models.wavefront import run_wavefront
from titans_seq.ops.linear import Linear

VARIANTS = ("lmm", "mac", "mag", "mal", "hybrid", "tnt")
_SEGMENTED = ("mac", "tnt")
PIECE = 512  # tokens that one thread takes at a time
DIRECTIONS = ("forward", "reverse", "both")


class Block(nn.Module):
    """``x + mixer(norm x)``, then ``x + SwiGLU(norm x)``."""

    def __init__(self, mixer: Mixer, d_model: int) -> None:
        super().__init__()
        self.mixer = mixer
        self.before_mixer, self.before_mlp = RMSNorm(d_model), RMSNorm(d_model)
        self.mlp = SwiGLU(d_model)

    def forward(
        self, x: Tensor, state: LayerState, mask: Tensor | None, position: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        y, after = self.mixer(self.before_mixer(x), state, mask, position)
        x = x + y
        return x + self.mlp(self.before_mlp(x)), after


class Encoder(nn.Module):
    """A causal encoder whose memory keeps learning while it reads.

    Parameters
    ----------
    variant : ``lmm`` (memory alone), ``mac``, ``mag``, ``mal`` (Titans 2501.00663, section 4), ``hybrid`` (memory and
        attention layers in turn), or ``tnt`` (`shards`: local memories restarted per segment beside a global one).
    memory : a name of `titans_seq.memory_names()`, a mapping such as ``{"name": "titans_lmm", "depth": 3}``, or a
        `MemorySpec`; ``none`` is the Transformer baseline.
    d_model, n_layers, n_heads : widths and depth.
    chunk_size : tokens whose inner gradients are taken at the same weights. Another value is another function.
    segment : of ``mac``, and the shard of ``tnt``; a multiple of ``chunk_size``. window : of the sliding-window
        attention. global_chunk : of ``tnt``, the chunk size of its global memory; ``segment`` unless given.
    persistent : learned tokens that are always visible.
    direction : ``forward``; ``reverse`` reads from the last token to the first; ``both`` reads both ways with the
        same weights, flips the second back and joins them.
    key_width, value_width, conv_width, forget_init, momentum_init, max_error, backend : see `NeuralMemory`.

    Attributes
    ----------
    threads : int
        1 at first. With more, reading without gradients lets blocks work at once (`wavefront`); a CPU's cores are then
        used even by a single stream.
    graphs : bool
        False at first. With True, reading without gradients on CUDA records pieces that begin at a multiple of
        ``border`` as CUDA graphs (`graphs`) and replays them: for long streams in pieces of one length.

    Examples
    --------
    >>> encoder = Encoder(variant="mag", memory="titans_lmm", d_model=32)
    >>> y, state = encoder(torch.randn(1, 1000, 32))
    >>> more, state = encoder(torch.randn(1, 1, 32), state)   # one token later; the same as one call over 1001
    """

    state_type: type[StreamState] = StreamState

    def __init__(
        self,
        *,
        variant: str = "mac",
        memory: str | Mapping[str, Any] | MemorySpec = "titans_lmm",
        d_model: int = 64,
        n_layers: int = 2,
        n_heads: int = 2,
        chunk_size: int = 16,
        segment: int = 32,
        window: int = 32,
        persistent: int = 4,
        direction: str = "forward",
        key_width: int | None = None,
        value_width: int | None = None,
        conv_width: int = 4,
        forget_init: float = 1e-4,
        momentum_init: float = 0.5,
        max_error: float | str | None = "auto",
        global_chunk: int | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise unknown_name("encoder variant", variant, VARIANTS)
        if direction not in DIRECTIONS:
            raise unknown_name("direction", direction, DIRECTIONS)
        coarse = segment if global_chunk is None else global_chunk
        check_positive(d_model=d_model, n_layers=n_layers, n_heads=n_heads, chunk_size=chunk_size, segment=segment,
                       window=window, global_chunk=coarse)  # fmt: skip
        if persistent < 0:
            raise ConfigError(f"persistent must not be negative, found {persistent}")
        if d_model % n_heads:
            raise ShapeError(f"d_model must be a multiple of n_heads, found {d_model} and {n_heads}")
        if variant in _SEGMENTED and segment % chunk_size:
            does = "freezes" if variant == "mac" else "restarts"
            raise ConfigError(
                f"variant {variant!r} {does} the memory at segment borders, so segment must be a multiple of "
                f"chunk_size; found segment={segment}, chunk_size={chunk_size}"
            )
        spec = memory_spec(memory)
        self.variant, self.direction, self.d_model = variant, direction, d_model
        self.threads, self.graphs, self._replays = 1, False, ReplayedReads()
        borders = {"mac": (segment,), "tnt": (segment, coarse)}
        self.border = math.lcm(chunk_size, *borders.get(variant, ()))
        self.config = {
            "variant": variant, "memory": asdict(spec), "d_model": d_model, "n_layers": n_layers, "n_heads": n_heads,
            "chunk_size": chunk_size, "segment": segment, "window": window, "persistent": persistent,
            "direction": direction, "key_width": key_width, "value_width": value_width, "conv_width": conv_width,
            "max_error": max_error,
        }  # fmt: skip
        if variant == "tnt":
            self.config["global_chunk"] = coarse

        def make_memory(chunk: int = chunk_size) -> NeuralMemory:
            return NeuralMemory(
                d_model, n_heads=n_heads, memory=spec, chunk_size=chunk, key_width=key_width,
                value_width=value_width, conv_width=conv_width, forget_init=forget_init, momentum_init=momentum_init,
                max_error=max_error, backend=backend,
            )  # fmt: skip

        def make_attention() -> SlidingWindowAttention:
            return SlidingWindowAttention(d_model, n_heads=n_heads, window=window, persistent=persistent)

        def make_mixer(layer: int) -> Mixer:
            if variant == "mac":
                return ContextMixer(make_memory(), segment=segment, persistent=persistent)
            if variant == "mag":
                return GatedMixer(make_memory(), make_attention())
            if variant == "mal":
                return LayeredMixer(make_memory(), make_attention())
            if variant == "tnt":
                return ShardedMixer(make_memory(coarse), make_memory(), shard=segment, persistent=persistent)
            if variant == "hybrid" and layer % 2:
                return AttentionMixer(make_attention())
            return MemoryMixer(make_memory(), persistent=persistent)

        self.blocks = nn.ModuleList(Block(make_mixer(i), d_model) for i in range(n_layers))
        self.norm = RMSNorm(d_model)
        self.join = Linear(2 * d_model, d_model, bias=False) if direction == "both" else None

    def initial_state(self, batch: int) -> StreamState:
        """The state before the first token of ``batch`` rows."""
        layers = [m.initial_state(batch) for m in self.mixers()]
        return self.state_type(layers, 0, encoder=self)

    def forward(
        self,
        x: Tensor,
        state: StreamState | None = None,
        mask: Tensor | None = None,
        *,
        direction: str | None = None,
    ) -> tuple[Tensor, StreamState]:
        """Encode a piece of a stream.

        Parameters
        ----------
        x : (B, T, d_model), any T from 0 on.
        state : what the call over the piece before returned; None begins a stream. For ``reverse``, the piece before
            is the one to the right.
        mask : (B, T) bool, False where a token must leave the memory untouched.
        direction : overrides the encoder's own for this call.

        Returns
        -------
        y : (B, T, d_model), and the state after. ``encode(whole)`` equals ``encode(any pieces)``.

        Raises
        ------
        ShapeError, ConfigError, StateMismatchError
        """
        if x.ndim != 3 or x.shape[-1] != self.d_model:
            raise ShapeError(f"x must be (batch, tokens, {self.d_model}), found {tuple(x.shape)}")
        way = direction or self.direction
        if way not in DIRECTIONS:
            raise unknown_name("direction", way, DIRECTIONS)
        if way == "both":
            if state is not None:
                raise ConfigError(
                    "direction 'both' reads a whole sequence in one call; to stream, run direction='forward' and "
                    "direction='reverse' with a state each and join them with encoder.combine(forward, reverse)"
                )
            y, after = self._read(x, None, mask)
            back, _ = self.forward(x, None, mask, direction="reverse")
            return self.combine(y, back), after
        if way == "reverse":
            y, after = self._read(x.flip(1), state, None if mask is None else mask.flip(1))
            return y.flip(1), after
        return self._read(x, state, mask)

    def combine(self, forward: Tensor, reverse: Tensor) -> Tensor:
        """Join outputs of the two directions, positions already flipped back."""
        if self.join is None:
            raise ConfigError("this encoder was built with one direction; build it with direction='both' to combine")
        return self.join(torch.cat([forward, reverse], -1))

    def _read(self, x: Tensor, state: StreamState | None, mask: Tensor | None) -> tuple[Tensor, StreamState]:
        if state is None:
            state = self.initial_state(x.shape[0])
        elif state.fingerprint is not None:
            state = state.bind(self)
        if len(state.layers) != len(self.blocks):
            raise ShapeError(f"the state has {len(state.layers)} layers, but this encoder has {len(self.blocks)}")
        if state.batch not in (0, x.shape[0]):
            raise ShapeError(f"the state holds {state.batch} rows, but x has {x.shape[0]}")
        tokens = x.shape[1]
        if self.threads > 1 and tokens > PIECE and len(self.blocks) > 1 and not torch.is_grad_enabled():
            x, layers = run_wavefront(
                list(self.blocks), x, state.layers, mask, state.position, threads=self.threads, piece=self._piece
            )
        elif self.graphs and x.is_cuda and self._may_replay(state.position):
            settings = tuple((memory.off, memory.split) for memory in self.memories())
            x, layers = self._replays.read(self._run_blocks, x, state.layers, mask, state.position, settings=settings)
        else:
            x, layers = self._run_blocks(x, state.layers, mask, state.position)
        return self.norm(x), self.state_type(layers, state.position + tokens, encoder=self)

    def _run_blocks(
        self, x: Tensor, states: Sequence[State], mask: Tensor | None, position: int
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        layers = []
        for block, before in zip(self.blocks, states, strict=True):
            x, after = block(x, before, mask, position)
            layers.append(after)
        return x, layers

    def _may_replay(self, position: int) -> bool:
        """Whether a recording of this call would hold at any other border as well."""
        recording = any(memory.readings is not None for memory in self.memories())
        return position % self.border == 0 and not recording and not torch.is_grad_enabled()

    @property
    def _piece(self) -> int:
        """Tokens of a piece of the wavefront: whole chunks and segments."""
        return math.ceil(PIECE / self.border) * self.border

    def mixers(self) -> list[Mixer]:
        """The token mixer of every layer."""
        return [m for m in self.modules() if isinstance(m, Mixer)]

    def memories(self) -> list[NeuralMemory]:
        """The memories of all layers that have one."""
        return [m for m in self.modules() if isinstance(m, NeuralMemory)]

    @contextmanager
    def memory_off(self) -> Iterator[None]:
        """Within this context every read of a memory is zero: the arm "off" of a report, from the same weights."""
        memories = self.memories()
        try:
            for memory in memories:
                memory.off = True
            yield
        finally:
            for memory in memories:
                memory.off = False

    @contextmanager
    def record(self) -> Iterator[list[list[Reading]]]:
        """Within this context, collect surprise and gates: one list of `Reading` (one per call) for every memory."""
        memories = self.memories()
        readings: list[list[Reading]] = [[] for _ in memories]
        try:
            for memory, seen in zip(memories, readings, strict=True):
                memory.readings = seen
            yield readings
        finally:
            for memory in memories:
                memory.readings = None

    def fingerprint(self) -> str:
        """Hash of configuration and weights: what a saved state is tied to."""
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True, default=dict).encode())
        for name, t in self.state_dict().items():
            digest.update(name.encode())
            digest.update(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
