"""Check and time the Triton kernels: the part of `gpu.py` that looks at memories alone.

A `Case` is a memory at a shape. Its check compares reads, state, surprise and every gradient with the chunk form in
float64; its timing counts useful work as `flops.py` does, so that what the kernels compute twice is not counted.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from titans_seq.ops import Gates, MemoryRule, MemoryState, Split, Structure, make_bias, make_gate
from titans_seq.ops.chunkwise import chunkwise_with_surprise
from titans_seq.ops.dispatch import run_memory, why_not_triton

BOUNDS = {torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
Step = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One memory at one shape; ``depth`` 0 is the matrix memory."""

    depth: int = 2
    width: int = 64
    hidden: int = 128
    chunk: int = 64
    batch: int = 16
    heads: int = 4
    tokens: int = 16384
    momentum: bool = True
    bias: str = "l2"
    gate: str = "l2"
    products: torch.dtype = torch.bfloat16
    position: int = 0

    def rule(self) -> MemoryRule:
        name = "mlp" if self.depth else "matrix"
        st = Structure(name, self.width, self.width, depth=max(self.depth, 1), expansion=self.hidden / self.width)
        clip = 2 * self.width**0.5 if self.depth == 0 and self.bias != "dot_product" else None
        return MemoryRule(st, make_bias(self.bias), make_gate(self.gate), self.momentum, clip)

    def useful(self) -> float:
        """Multiplications and additions of the forward pass's matrix products."""
        parts, inner = (2 if self.momentum else 1), (self.hidden if self.depth == 2 else self.width)
        parts += self.gate not in ("none", "l2")  # reads add link(A), which A moves away from
        layers = 2 if self.depth == 2 else 1
        weights = (2 * layers - 1 + 2 * layers * parts) * 2 * self.width * inner
        inside = 4 * self.chunk * (self.width + inner)
        return float(self.batch * self.heads * self.tokens * (weights + inside))

    def named(self) -> dict[str, object]:
        return {**vars(self), "products": str(self.products).removeprefix("torch.")}


def inputs(case: Case, device: str) -> tuple[list[Tensor], Callable[[list[Tensor]], tuple[Gates, MemoryState]]]:
    """Float32 leaves q, k, v, theta, alpha, W, then eta and S, then delta; and how gates and state follow from them."""
    make, rule = torch.Generator().manual_seed(0), case.rule()
    shape = (case.batch, case.heads, case.tokens)
    flat = (case.batch, case.heads, rule.structure.size)
    q, k = (F.normalize(torch.randn(*shape, case.width, generator=make), dim=-1) for _ in "qk")
    leaves = [q, k, torch.randn(*shape, case.width, generator=make)]
    scale = 1.0 / (case.chunk * (case.hidden if case.depth == 2 else 1))
    leaves += [torch.rand(shape, generator=make) * scale, torch.rand(shape, generator=make) * 0.01]
    start = torch.stack([rule.retention.initial(rule.structure, make) for _ in range(case.heads)]).expand(flat)
    leaves.append(start + 0.01 * torch.randn(flat, generator=make))
    if case.momentum:
        leaves += [torch.rand(shape, generator=make) * 0.8, 0.01 * torch.randn(flat, generator=make)]
    if rule.bias.uses_threshold:
        leaves.append(torch.rand(shape, generator=make) + 0.5)
    inside = 0.01 * torch.randn(flat, generator=make).to(device) if case.position % case.chunk else None

    def rest(x: list[Tensor]) -> tuple[Gates, MemoryState]:
        eta, s = (x[6], x[7]) if case.momentum else (None, None)
        threshold = x[-1] if rule.bias.uses_threshold else None
        anchor = x[5] if inside is None else x[5] + inside.to(x[5].dtype)
        state = MemoryState(x[5], s, anchor, x[5].new_zeros(flat[:2]), case.position)
        return Gates(x[3], x[4], eta, threshold), state

    return [x.to(device).requires_grad_() for x in leaves], rest


def check(case: Case, device: str, split: Split | None = None) -> dict[str, object]:
    """Largest relative error (in the norm) of reads, surprise, state and gradients against float64."""
    leaves, rest = inputs(case, device)
    rule, found = case.rule(), []
    for dtype, backend, shared in ((torch.float64, "chunkwise", None), (torch.float32, "triton", split)):
        x = [leaf.detach().to(dtype).requires_grad_() for leaf in leaves]
        gates, state = rest(x)
        y, surprise, after = run_memory(
            *x[:3], gates, state, rule=rule, chunk_size=case.chunk, backend=backend, products=case.products,
            split=shared,
        )  # fmt: skip
        assert surprise is not None
        weigh = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
        grads = torch.autograd.grad((y * weigh).sum() + after.weights.square().sum(), x)
        found.append([y, surprise, after.weights, *grads])
    errors = [float((b - a).detach().norm() / a.detach().norm().clamp(min=1e-30)) for a, b in zip(*found, strict=True)]
    worst = max(errors)
    return {**case.named(), "worst": worst, "right": worst < BOUNDS[case.products]}


def refused(case: Case, device: str) -> str | None:
    return why_not_triton(case.rule(), case.chunk, torch.device(device), case.products, torch.float32)


def seconds(run: Step, device: str, repeats: int = 5) -> float:
    """Median seconds, after two runs to warm up."""
    times = []
    for i in range(repeats + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        if i >= 2:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def steps(case: Case, backend: str, device: str, split: Split | None = None) -> tuple[Step, Step]:
    """The forward pass alone, and with the backward pass of everything."""
    leaves, rest = inputs(case, device)
    rule = case.rule()

    def call() -> Tensor:
        gates, state = rest(leaves)
        if backend == "compiled":
            run = torch.compile(chunkwise_with_surprise)
            return run(*leaves[:3], gates, state, rule=rule, chunk_size=case.chunk)[0]
        return run_memory(
            *leaves[:3], gates, state, rule=rule, chunk_size=case.chunk, backend=backend, products=case.products,
            split=split,
        )[0]  # fmt: skip

    def forward() -> None:
        with torch.no_grad():
            call()

    def both() -> None:
        torch.autograd.grad(call().sum(), leaves, allow_unused=True)

    return forward, both


def speed(case: Case, backend: str, device: str, peak: float | None) -> dict[str, object]:
    """Time, tokens per second and TFLOP/s of useful work, as a share of the measured matrix peak."""
    forward, both = steps(case, backend, device)
    work, row = case.useful(), {**case.named(), "backend": backend}
    for name, run, times in (("forward", forward, 1), ("both", both, 3)):
        took = seconds(run, device)
        rate = times * work / took / 1e12
        row |= {f"{name}_ms": took * 1e3, f"{name}_tok_s": case.batch * case.tokens / took, f"{name}_tflops": rate}
        row[f"{name}_share"] = rate / peak if peak else None
    if device == "cuda":
        row["peak_mib"] = torch.cuda.max_memory_allocated() // 2**20
        torch.cuda.reset_peak_memory_stats()
    return row


def matrix_peak(dtype: torch.dtype, device: str, size: int = 8192) -> float:
    """TFLOP/s of one large product: what the machine gives, not what its data sheet says."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in "ab")
    return 2 * size**3 / seconds(lambda: a @ b, device) / 1e12


def peer(case: Case, device: str) -> dict[str, object]:
    """fla's gated delta rule (a matrix memory, chunk form) at the same B, T, H, D, where it can be imported."""
    try:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    except ImportError as error:
        return {"peer": "fla chunk_gated_delta_rule", "skipped": str(error)}
    shape = (case.batch, case.tokens, case.heads)
    q, k, v = (
        F.normalize(torch.randn(*shape, case.width, device=device), dim=-1).bfloat16().requires_grad_() for _ in "qkv"
    )
    g, beta = -0.01 * torch.rand(shape, device=device), torch.rand(shape, device=device).bfloat16()

    def both() -> None:
        chunk_gated_delta_rule(q=q, k=k, v=v, g=g, beta=beta)[0].sum().backward()

    return {"peer": "fla chunk_gated_delta_rule", **case.named(), "both_ms": seconds(both, device) * 1e3}


def checks(tiny: bool) -> list[Case]:
    """Every kernel, bias, start and operand type, at a small shape."""
    small = Case(width=16 if tiny else 64, hidden=32 if tiny else 128, chunk=16 if tiny else 64, batch=1,
                 heads=1 if tiny else 2, tokens=20 if tiny else 331, products=torch.float32)  # fmt: skip
    cases = [replace(small, depth=d, momentum=m) for d in (0, 1, 2) for m in (False, True)]
    cases += [replace(small, position=5, tokens=8), replace(small, position=5)]
    named = [replace(small, bias="lp", gate="lq", momentum=False), replace(small, gate="kl", momentum=False)]
    cases += [*named, replace(named[1], position=5)]
    if tiny:
        return cases[-6:]
    cases += [replace(small, gate=g, depth=d) for g in ("lq", "kl", "elastic_net", "bregman") for d in (0, 1)]
    cases += [replace(small, bias=b, depth=0) for b in ("dot_product", "lp", "huber", "huber_norm", "robust")]
    cases += [replace(small, bias=b, momentum=False) for b in ("lp", "huber_mixture")]
    half = [replace(c, products=p) for p in (torch.bfloat16, torch.float16) for c in [*cases[:6], *named]]
    return [*cases, *half]


def shapes(tiny: bool) -> list[Case]:
    """The dispatch table's shapes; the first is the issue's."""
    if tiny:
        base = Case(width=16, hidden=32, chunk=16, batch=1, heads=1, tokens=32, products=torch.float32)
        return [base, replace(base, gate="kl", momentum=False)]
    base = Case()
    other = [{"hidden": 64}, {"hidden": 256}, {"chunk": 32}, {"depth": 0}, {"width": 32}, {"products": torch.float32},
             {"batch": 1, "tokens": 65536}, {"hidden": 256, "batch": 1, "heads": 2, "tokens": 262144},
             {"hidden": 256, "momentum": False, "bias": "lp", "gate": "lq"},
             {"hidden": 256, "momentum": False, "gate": "kl"}]  # fmt: skip
    return [base, *(replace(base, **changes) for changes in other)]  # type: ignore[arg-type]


def interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"
