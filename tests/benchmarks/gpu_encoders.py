"""Check and time encoders, attention, the table and whole models: the part of `gpu.py` around the kernels.

The models are those of configs/dna-small.yaml and configs/dna-base.yaml, written out here so that no YAML has to be
read. What `tiny` cuts down is sizes only, so that a dry run on a CPU walks through the same calls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.benchmarks.gpu_kernels import seconds
from titans_seq.memory import Table, TableSpec
from titans_seq.models import Encoder
from titans_seq.models.attention import SlidingWindowAttention
from titans_seq.ops import Split

CHROMOSOME = 250_000_000
ORDERS = (1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14, 16, 18, 22)
Row = dict[str, object]


@dataclass(frozen=True)
class Preset:
    """A model and the streams that train it: ``rows`` of ``tokens``."""

    name: str
    rows: int
    tokens: int
    model: dict[str, Any]
    context: dict[str, Any] = field(default_factory=dict)
    orders: tuple[int, ...] = ORDERS


def presets(tiny: bool) -> tuple[Preset, Preset]:
    """The small and the base model of DNA."""
    small = Preset(
        "dna-small", 8, 512,
        {"variant": "lmm", "d_model": 128, "n_layers": 2, "n_heads": 2, "chunk_size": 64, "segment": 64, "window": 64},
        {"kmers": (3, 5, 7, 9)}, (*ORDERS, 28),
    )  # fmt: skip
    base = Preset(
        "dna-base", 32, 2048,
        {"variant": "mag", "d_model": 512, "n_layers": 8, "n_heads": 8, "chunk_size": 64, "segment": 128,
         "window": 128, "persistent": 16},
        {"kmer_width": 32},
    )  # fmt: skip
    if not tiny:
        return small, base
    less = {"d_model": 32, "n_layers": 2, "n_heads": 2, "chunk_size": 16, "segment": 16, "window": 16}
    return tuple(  # type: ignore[return-value]
        replace(p, rows=2, tokens=64, model=p.model | less, context={"kmers": (3,)}, orders=(2, 4))
        for p in (small, base)
    )


def sharded(preset: Preset, *, shard: int, global_chunk: int) -> Preset:
    """The same sizes as a `tnt` encoder."""
    model = preset.model | {"variant": "tnt", "segment": shard, "global_chunk": global_chunk}
    return replace(preset, name=f"{preset.name}, tnt", model=model)


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm().clamp(min=1e-30))


def check_encoder(variant: str, device: str) -> Row:
    """The same weights on the CPU and on the device, float64, a stream cut in the middle."""
    torch.manual_seed(0)
    encoder = Encoder(variant=variant, d_model=32, chunk_size=8, segment=16, window=16).double()
    x = torch.randn(2, 200, 32, dtype=torch.float64)
    here, _ = encoder(x)
    encoder.to(device)
    first, state = encoder(x[:, :77].to(device))
    second, _ = encoder(x[:, 77:].to(device), state)
    return {"variant": variant, "worst": relative(torch.cat([first, second], 1).cpu(), here)}


def check_replays(variant: str, device: str) -> Row:
    """CUDA graphs against plain calls: outputs of six pieces and the state after them."""
    torch.manual_seed(0)
    encoder = Encoder(variant=variant, d_model=64, chunk_size=16, segment=32, window=32).to(device).eval()
    x, found = torch.randn(6, 2, 64, 64, device=device), []
    with torch.no_grad():
        for graphs in (False, True):
            encoder.graphs, state, outputs = graphs, None, []
            for piece in x:
                y, state = encoder(piece, state)
                outputs.append(y)
            assert state is not None
            found.append([torch.cat(outputs), *state.tensors().values()])
    plain, replayed = found
    worst = max(relative(b.double(), a.double()) for a, b in zip(plain, replayed, strict=True))
    return {"variant": variant, "recordings": len(encoder._replays._recorded), "worst": worst}


def check_attention(device: str, tiny: bool) -> Row:
    """The fused kernel against blocks: outputs, and on a GPU gradients, from an empty window and from a full one."""
    torch.manual_seed(0)
    tokens = 40 if tiny else 700
    attention = SlidingWindowAttention(64, n_heads=2, window=16 if tiny else 128, persistent=4).to(device)
    x, found = torch.randn(2, 2 * tokens, 64, device=device), []
    for kernel in ("blocks", "flex"):
        attention.kernel = kernel
        with torch.set_grad_enabled(not tiny):
            first, state = attention(x[:, :tokens], attention.initial_state(2))
            second, _ = attention(x[:, tokens:], state)
            y = torch.cat([first, second], 1)
        grads = [] if tiny else torch.autograd.grad(y.square().sum(), list(attention.parameters()))
        found.append([y, *grads])
    return {"case": "flex", "worst": max(relative(b, a) for a, b in zip(*found, strict=True))}


def time_attention(kernel: str, rows: int, tokens: int, device: str) -> Row:
    """Milliseconds of eight heads of 64 with a window of 128, forward and with gradients, in bfloat16."""
    attention = SlidingWindowAttention(512, n_heads=8, window=128, persistent=16).to(device)
    attention.kernel = kernel
    x, state = torch.randn(rows, tokens, 512, device=device), attention.initial_state(rows)

    def forward() -> None:
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            attention(x, state)

    def both() -> None:
        with torch.autocast(device, torch.bfloat16):
            y, _ = attention(x, state)
        y.float().square().mean().backward()

    timed = {"forward_ms": seconds(forward, device, 3) * 1e3}
    if device == "cuda" or kernel == "blocks":
        timed["both_ms"] = seconds(both, device, 3) * 1e3
    return {"kernel": kernel, "rows": rows, "tokens": tokens, **timed}


def time_table(rows: int, length: int, piece: int, device: str, orders: tuple[int, ...]) -> Row:
    """Tokens per second of the table alone, reading and writing streams of about ``length`` tokens."""
    table = Table(TableSpec(orders=orders, copies=(12, 24)))
    state = table.initial_state(rows, tokens=length, device=device)
    tokens = torch.randint(0, 4, (rows, piece), device=device)
    took = seconds(lambda: table.read(tokens, state), device, 3)
    return {"rows": rows, "length": length, "tok_s": rows * piece / took, "mb": state.layout.bytes * rows / 1e6}


def train_encoder(preset: Preset, rows: int, tokens: int, backend: str, device: str) -> Row:
    """One step without its optimiser, under bfloat16 autocast."""
    encoder = Encoder(**preset.model, backend=backend).to(device)
    x = torch.randn(rows, tokens, encoder.d_model, device=device, requires_grad=True)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            y, _ = encoder(x)
        y.float().square().mean().backward()

    took = seconds(step, device, 3)
    return {"model": preset.name, "pass": "training", "backend": backend, "rows": rows, "tok_s": rows * tokens / took}


def stream_encoder(
    preset: Preset, rows: int, piece: int, backend: str, device: str, *, graphs: bool = False, slices: int = 0
) -> Row:
    """Pieces of ``rows`` streams with carried state, and what that makes of a chromosome; peak memory per piece.

    ``slices`` above 0: the programs that share a row's writes (backend triton).
    """
    encoder = Encoder(**preset.model, backend=backend).to(device).eval()
    encoder.graphs = graphs
    _share(encoder, slices)
    x = torch.randn(rows, piece, encoder.d_model, device=device)
    row = _stream(lambda state: encoder(x, state)[1], rows * piece, rows, device)
    return {"model": preset.name, "pass": "streaming", "backend": backend, "graphs": graphs,
            "slices": slices, **row}  # fmt: skip


def _share(encoder: Encoder, slices: int) -> None:
    for memory in encoder.memories():
        memory.split = Split(slices) if slices else None


def train_model(preset: Preset, device: str) -> Row:
    """A training step of the whole model with its table, as the preset trains it, without the optimiser."""
    task, tokens = _model(preset, device), torch.randint(0, 4, (preset.rows, preset.tokens + 1), device=device)
    state = None

    def step() -> None:
        nonlocal state
        with torch.autocast(device, torch.bfloat16):
            logits, after = task(tokens[:, :-1], state=state)
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        state = after.detach()

    took = seconds(step, device, 3)
    return {"model": f"{preset.name}, whole", "pass": "training", "rows": preset.rows,
            "tok_s": preset.rows * preset.tokens / took}  # fmt: skip


def stream_model(preset: Preset, rows: int, piece: int, length: int, device: str, *, slices: int = 0) -> Row:
    """The whole model with its table, reading ``rows`` streams laid out for ``length`` bases each; with ``slices``, the
    memory's writes shared by so many programs, and CUDA graphs."""
    task = _model(preset, device, "triton" if slices else "auto").eval()
    task.encoder.graphs = slices > 0
    _share(task.encoder, slices)
    task.expect(length)
    tokens = torch.randint(0, 4, (rows, piece), device=device)
    row = _stream(lambda state: task(tokens, state=state)[1], rows * piece, rows, device)
    shared = f", {slices} slices" if slices else ""
    return {"model": f"{preset.name}, whole{shared}", "pass": "streaming", **row}


def _model(preset: Preset, device: str, backend: str = "auto") -> Any:
    from titans_seq.tasks import BaseContext, NextBase
    from titans_seq.tasks.mixing import TableMixing

    encoder = Encoder(**preset.model, backend=backend)
    width = encoder.d_model
    spec = TableSpec(orders=preset.orders, copies=(12, 24), chunk=encoder.border if encoder.border < 64 else 64)
    task = NextBase(
        encoder=encoder, context=BaseContext(d_model=width, **preset.context), d_model=width,
        mixing=TableMixing(spec, d_model=width),
    )  # fmt: skip
    return task.to(device)


def _stream(read: Callable[[Any], Any], tokens: int, rows: int, device: str) -> Row:
    state, peaks = None, []

    def step() -> None:
        nonlocal state
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            state = read(state)
        if device == "cuda":
            peaks.append(torch.cuda.max_memory_allocated() // 2**20)

    rate = tokens / seconds(step, device, 5)
    return {"rows": rows, "tok_s": rate, "chromosome_s": CHROMOSOME / rate if rows == 1 else None,
            "peak_mib": peaks[2:]}  # fmt: skip


class Heard(logging.Handler):
    """Messages of the library, once each: which way dispatch went, and why."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
