"""The sections a configuration is made of, as frozen, typed objects.

Each class is one section of a preset's YAML and the place where a key's meaning, unit and bounds are written down.
An unknown key is an error; so is a value outside its bounds. Nothing here knows a model or reads a file.
"""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveReal = Annotated[float, Field(gt=0)]
NonNegativeReal = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
"""At least 0 and below 1."""


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputSection(Section):
    """What a position sees of the bases before it, beside the memory.

    Attributes
    ----------
    window
        How many preceding bases enter each position as one-hot columns of a linear map, in bases.
    kmers
        Lengths of the preceding k-mers that are looked up in learned tables, in bases. A table has 4^k + 1 rows.
    kmer_width
        Width of a row of those tables before it is mapped to the model's width.
    """

    window: Positive = 16
    kmers: tuple[Annotated[int, Field(ge=1, le=12)], ...] = (4, 8)
    kmer_width: Positive = 16


class StreamsSection(Section):
    """How genomes are laid out as parallel streams.

    Attributes
    ----------
    rows
        Streams trained side by side: the batch.
    length
        Bases of each stream between two optimiser steps; gradients stop there, the memory goes on.
        Must be a multiple of the encoder's border, so that the streams reset only where they may.
    strands
        ``both`` adds the reverse complement of everything as streams of their own.
    gap_reset
        A run of more than this many unknown bases ends a stream; the memory starts afresh behind it.
    """

    rows: Positive = 8
    length: Positive = 512
    strands: Literal["forward", "both"] = "both"
    gap_reset: NonNegative = 10_000


class SplitSection(Section):
    """Which bases are held out.

    Attributes
    ----------
    valid_fraction
        The last part of every contig, as a fraction. Ignored when ``valid_contigs`` names any.
    valid_contigs
        Names of contigs held out whole.
    margin
        Bases left out of training before the held-out part of a contig.
    """

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    valid_contigs: tuple[str, ...] = ()
    margin: NonNegative = 0


class OptimiserSection(Section):
    """AdamW and its schedule.

    Attributes
    ----------
    learning_rate, final_share
        Peak of the rate, and the share of it that is left at the end of the cosine.
    warmup
        Optimiser steps over which the rate rises from zero to its peak.
    weight_decay
        Decay of matrices; vectors, gains, biases and look-up tables are never decayed.
    beta1, beta2
        AdamW's averaging of the gradient and of its square.
    clip
        Largest norm of the gradient.
    accumulate
        Segments whose gradients are added up before a step.
    skip_limit
        Steps in a row that may be skipped because the loss or the gradient was not finite.
    """

    learning_rate: PositiveReal = 2e-3
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    warmup: NonNegative = 50
    weight_decay: NonNegativeReal = 0.1
    beta1: Fraction = 0.9
    beta2: Fraction = 0.98
    clip: PositiveReal = 1.0
    accumulate: Positive = 1
    skip_limit: Positive = 20


class BudgetSection(Section):
    """When training ends: one of the three, or with minutes beside epochs the one that is reached first.

    Attributes
    ----------
    steps, epochs, minutes
        Optimiser steps; passes over the training part; minutes of training (evaluation comes on top).
        A budget in minutes depends on the machine's speed, so only the other two repeat number for number.
    """

    steps: Positive | None = None
    epochs: PositiveReal | None = None
    minutes: PositiveReal | None = None

    @model_validator(mode="after")
    def _one_end(self) -> "BudgetSection":
        given = [name for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None]
        if len(given) != 1 and given != ["epochs", "minutes"]:
            msg = f"expected one of steps, epochs, minutes, or epochs and minutes; found {', '.join(given) or 'none'}"
            raise ValueError(msg)
        return self


class EvaluationSection(Section):
    """How the held-out part is scored.

    Attributes
    ----------
    window
        Length of the windows of the arm whose memory is reset, in bases.
    lead_in
        Bases read before each such window and not scored, so that local context is not what is measured.
    rows
        Windows scored side by side.
    piece
        Longest stretch scored at once when the memory is off, in bases.
    max_bases
        Score at most this many held-out bases: the beginning of each stretch, or of stretches spread evenly where
        there are many short ones; null scores all.
    carry_bases
        Stream at most this many bases before the held-out part in the arm that carries the memory from the start
        of the contig; null streams all of them.
    markov_orders
        Orders of the Markov models printed beside; an empty list leaves them and their mixture out.
    stretch
        Bases drawn in the picture of gates and surprise.
    """

    window: Positive = 2048
    lead_in: NonNegative = 64
    rows: Positive = 16
    piece: Positive = 16384
    max_bases: Positive | None = None
    carry_bases: Positive | None = None
    markov_orders: tuple[Annotated[int, Field(ge=0, le=24)], ...] = (2, 4, 6, 8, 11, 12, 14, 16)
    stretch: Positive = 4096


class RunSection(Section):
    """Where and how the job runs.

    Attributes
    ----------
    seed
        Seeds the weights and the order of the streams.
    device
        ``auto`` takes an accelerator where there is one.
    precision
        ``auto`` is bfloat16 mixed on accelerators that compute it natively, float32 elsewhere.
    threads
        Threads of the CPU; null leaves PyTorch's choice.
    checkpoint_minutes, checkpoint_steps
        A checkpoint is written when either has passed since the last.
    log_steps
        Optimiser steps between two rows of ``metrics.csv``.
    sharding
        Under torchrun: ``none`` keeps all of the model in every process, ``full`` (FSDP) a share of the parameters,
        their gradients and the optimiser's averages, for models that fill a device's memory.
    """

    seed: NonNegative = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Positive | None = None
    checkpoint_minutes: PositiveReal = 5.0
    checkpoint_steps: Positive = 500
    log_steps: Positive = 10
    sharding: Literal["none", "full"] = "none"

    @field_validator("device")
    @classmethod
    def _device_name(cls, name: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
            msg = f"expected auto, cpu, mps, cuda or cuda:N, found {name!r}"
            raise ValueError(msg)
        return name
