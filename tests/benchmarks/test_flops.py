"""The formulas of `flops.py` against the products that really run, and the harness at a tiny size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.benchmarks.flops import forward_flops, train_flops
from tests.benchmarks.measure import Case, PassError, measure
from titans_seq.memory import NeuralMemory

SIZES = {"tokens": 256, "heads": 2, "d": 64, "e": 256, "chunk": 64}


class BatchedProducts(TorchDispatchMode):
    """Counts bmm and baddbmm, in place or not: the memory's products. Projections are plain mm."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name.rstrip("_") in ("bmm", "baddbmm"):
            a, b = args[-2:] if name == "bmm" else args[1:3]
            self.flops += 2 * a.shape[0] * a.shape[1] * a.shape[2] * b.shape[2]
        return func(*args, **(kwargs or {}))


def test_the_formulas_are_what_runs() -> None:
    memory = NeuralMemory(d_model=128, n_heads=2, memory="titans_lmm", chunk_size=64, backend="chunkwise")
    x = torch.randn(1, SIZES["tokens"], 128, requires_grad=True)
    with BatchedProducts() as forward, torch.no_grad():
        memory(x)
    with BatchedProducts() as train:
        memory(x)[0].square().mean().backward()
    assert forward.flops == pytest.approx(forward_flops(**SIZES), rel=0.05)
    # The backward may compute the forward once more, and no more than that.
    assert 0.95 <= train.flops / train_flops(**SIZES) <= 1.4


@pytest.mark.parametrize("mode", ["infer", "train", "stream"])
def test_a_measurement_is_finite_and_takes_memory(mode: str) -> None:
    case = Case("ours", 128, 2, 192, mode, budget=0.0, most=1, threads=1, piece=64)
    result = measure(case, timeout=120)
    assert result.finite
    assert result.runs == 1
    assert result.seconds > 0
    assert 1 < result.mib < 2000


def test_a_failed_measurement_says_why() -> None:
    with pytest.raises(PassError, match="d_model"):
        measure(Case("ours", 127, 2, 64, "infer", threads=1), timeout=120)
