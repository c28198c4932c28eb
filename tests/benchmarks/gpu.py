"""Check and time everything that runs on a GPU, with nothing installed but PyTorch.

`python tests/benchmarks/gpu.py [--out FILE.json]`, from the root of a source tree. Compares the chunk form with the
token-by-token definition on the device (float64 and float32, gradients too), encoders on the device with encoders on
the CPU, and times the memory. Without a CUDA device it says so and stops.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from titans_seq.memory import NeuralMemory, memory_names, memory_spec
from titans_seq.models import VARIANTS, Encoder
from titans_seq.ops import Gates, MemoryState, chunkwise, recurrent


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm().clamp(min=1e-30))


def check_memory(name: str, dtype: torch.dtype, device: str) -> dict[str, object]:
    """Chunk form against definition: worst relative error of reads, state and gradients at an odd length."""
    torch.manual_seed(0)
    rule = memory_spec(name).rule(16, 16)
    shape = (2, 2, 131)

    def leaf(x: Tensor) -> Tensor:
        return x.to(device, dtype).requires_grad_()

    q, k = (leaf(torch.nn.functional.normalize(torch.randn(*shape, 16), dim=-1)) for _ in range(2))
    v, rate = leaf(torch.randn(*shape, 16)), leaf(torch.rand(shape) * 0.05)
    forget = leaf(torch.rand(shape) * 0.1) if rule.retention.forgets else None
    momentum = leaf(torch.rand(shape) * 0.8) if rule.momentum else None
    threshold = leaf(torch.rand(shape) + 0.5) if rule.bias.uses_threshold else None
    start = leaf(torch.stack([rule.retention.initial(rule.structure) for _ in range(2)]) + 0.01)
    leaves = [x for x in (q, k, v, rate, forget, momentum, threshold, start) if x is not None]
    gates = Gates(rate, forget, momentum, threshold)
    results = []
    for run in (recurrent, chunkwise):
        y, state = run(q, k, v, gates, MemoryState.fresh(rule, start, 2), rule=rule, chunk_size=16)
        grads = torch.autograd.grad(y.square().sum() + state.weights.square().sum(), leaves)
        results.append([y, state.weights, *grads])
    errors = [relative(b, a) for a, b in zip(*results, strict=True)]
    return {"memory": name, "dtype": str(dtype), "worst": max(errors)}


def check_encoder(variant: str, device: str) -> dict[str, object]:
    """The same weights on the CPU and on the device, float64, a stream cut in the middle."""
    torch.manual_seed(0)
    encoder = Encoder(variant=variant, d_model=32, chunk_size=8, segment=16, window=16).double()
    x = torch.randn(2, 200, 32, dtype=torch.float64)
    here, _ = encoder(x)
    encoder.to(device)
    first, state = encoder(x[:, :77].to(device))
    second, _ = encoder(x[:, 77:].to(device), state)
    return {"variant": variant, "worst": relative(torch.cat([first, second], 1).cpu(), here)}


def timed(run: Callable[[], object], repeats: int) -> float:
    """Median seconds, by device events."""
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(stop) / 1000)
    return statistics.median(times)


def speed(name: str, batch: int, tokens: int, heads: int, chunk: int, device: str) -> dict[str, object]:
    """Tokens per second of a memory layer, forward and forward + backward."""
    layer = NeuralMemory(64 * heads, n_heads=heads, memory=name, chunk_size=chunk).to(device)
    x = torch.randn(batch, tokens, 64 * heads, device=device, requires_grad=True)

    def forward() -> None:
        with torch.no_grad():
            layer(x)

    def both() -> None:
        layer(x)[0].sum().backward()

    once, twice = timed(forward, 5), timed(both, 5)
    return {
        "memory": name, "batch": batch, "tokens": tokens, "heads": heads, "chunk": chunk,
        "forward_tok_s": round(batch * tokens / once), "both_tok_s": round(batch * tokens / twice),
        "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, help="where the JSON goes (default: results/gpu-DATE.json beside this file)"
    )
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device on this machine: nothing to check", file=sys.stderr)
        raise SystemExit(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    names = [n for n in memory_names() if n != "none"]
    report = {
        "date": datetime.date.today().isoformat(),
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "definition": [check_memory(n, d, "cuda") for d in (torch.float64, torch.float32) for n in names],
        "encoders": [check_encoder(v, "cuda") for v in VARIANTS],
        "speed": [
            speed(n, b, t, 4, 64, "cuda")
            for n in ("titans_lmm", "moneta", "yaad", "memora", "gated_deltanet")
            for b, t in ((1, 16384), (16, 4096))
        ],
    }
    out = args.out or Path(__file__).parent / "results" / f"gpu-{report['date']}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
