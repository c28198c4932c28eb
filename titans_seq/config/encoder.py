"""The `model` section: which encoder is built, as plain numbers and names.

The keys are the keyword arguments of `titans_seq.Encoder`, where their mathematics is explained; this file adds the
bounds that can be checked without building anything, so that a typo costs no start-up of torch.
"""

from math import lcm
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from titans_seq.config.sections import Positive, Section

Share = Annotated[float, Field(gt=0, lt=1)]


class EncoderSection(Section):
    """Shape and memory of the encoder.

    Attributes
    ----------
    variant
        How memory and attention are put together: ``lmm``, ``mac``, ``mag``, ``mal``, ``hybrid`` or ``tnt``.
    memory
        Name of the memory (`titans_seq.memory_names()` lists them), or ``none`` for the Transformer baseline; or the
        name with options of `titans_seq.MemorySpec`: ``{name: titans_lmm, depth: 3, expansion: 2}``.
    d_model, n_layers, n_heads
        Width, number of blocks, heads of the memory and of the attention.
    chunk_size
        Tokens whose surprise is taken at the same memory weights. Part of the model, not of its speed.
    segment, window
        Tokens in a segment of ``mac`` or a shard of ``tnt``, and tokens a sliding window of the other variants looks
        back over.
    global_chunk
        Chunk size of the global memory of ``tnt``; null for ``segment``.
    persistent
        Learned tokens that attention always sees.
    direction
        ``forward`` reads left to right, which next-base prediction needs.
    key_width, value_width
        Of the memory, per head; null for ``d_model / n_heads``.
    conv_width
        Tokens that the memory's convolutions see.
    forget_init, momentum_init
        Where the gates start; a low ``forget_init`` lets state outlive a segment.
    """

    variant: Literal["lmm", "mac", "mag", "mal", "hybrid", "tnt"] = "lmm"
    memory: str | dict[str, str | int | float] = "titans_lmm"
    d_model: Positive = 64
    n_layers: Positive = 2
    n_heads: Positive = 2
    chunk_size: Positive = 16
    segment: Positive = 32
    window: Positive = 32
    global_chunk: Positive | None = None
    persistent: Positive = 4
    direction: Literal["forward"] = "forward"
    key_width: Positive | None = None
    value_width: Positive | None = None
    conv_width: Positive = 4
    forget_init: Share = 1e-4
    momentum_init: Share = 0.5

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "EncoderSection":
        if self.d_model % self.n_heads:
            msg = f"expected n_heads to divide d_model, found n_heads={self.n_heads} and d_model={self.d_model}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _memory_has_a_name(self) -> "EncoderSection":
        if isinstance(self.memory, dict) and not isinstance(self.memory.get("name"), str):
            msg = f"expected memory as a name, or as {{name: ..., depth: ...}}; found {self.memory!r}"
            raise ValueError(msg)
        return self

    @property
    def memory_label(self) -> str:
        """The memory in words: ``titans_lmm``, or ``titans_lmm (depth 3)``."""
        if isinstance(self.memory, str):
            return self.memory
        options = ", ".join(f"{key} {value}" for key, value in self.memory.items() if key != "name")
        return f"{self.memory['name']} ({options})" if options else str(self.memory["name"])

    @property
    def border(self) -> int:
        """Streams may reset at multiples of this many tokens: a chunk, or for ``mac`` and ``tnt`` a segment as well."""
        segments = {"mac": (self.segment,), "tnt": (self.segment, self.global_chunk or self.segment)}
        return lcm(self.chunk_size, *segments.get(self.variant, ()))

    def arguments(self) -> dict[str, Any]:
        """Give the keyword arguments for `titans_seq.Encoder`."""
        return self.model_dump()
