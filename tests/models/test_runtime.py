"""Mixed precision, torch.compile and data-parallel training give the same model."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from tests.models.cases import VARIANTS, build, in_pieces, tokens


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_keeps_the_memory_in_float32(variant: str) -> None:
    encoder, x = build(variant), tokens(2, 21)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = encoder(x)
    y.float().square().mean().backward()
    assert {t.dtype for t in state.tensors().values() if t.is_floating_point()} == {torch.float32}
    with torch.no_grad():
        exact, _ = encoder(x)
    # bf16 keeps 8 bits: outputs of size 1 to 3 agree to about a hundredth on average
    assert float((y.detach() - exact).abs().mean()) < 0.05
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pure_bfloat16_model_keeps_its_fast_weights_in_float32(variant: str) -> None:
    encoder, x = build(variant).bfloat16(), tokens(2, 21).bfloat16()
    y, state = in_pieces(encoder, x, [5, 13])
    y.float().square().mean().backward()
    assert y.dtype == torch.bfloat16
    fast = [t for name, t in state.tensors().items() if name.rsplit(".", 1)[-1] in ("weights", "momentum", "anchor")]
    assert {t.dtype for t in fast} == {torch.float32}
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


def test_bfloat16_streams_as_it_reads_at_once() -> None:
    encoder, x = build("mac"), tokens(1, 21)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        whole, _ = encoder(x)
        pieces, _ = in_pieces(encoder, x, [5, 13])
    assert float((whole - pieces).abs().max()) < 0.1


# dynamo itself asks intermediate tensors for .grad where it takes up after a graph break
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("variant", ["lmm", *(pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS if v != "lmm")])
def test_compiled_gives_the_same_numbers(variant: str) -> None:
    encoder, x = build(variant, n_layers=2 if variant == "hybrid" else 1), tokens(2, 10)
    state = encoder(x[:, :3])[1].detach()  # the call that is compiled goes on inside a chunk
    torch._dynamo.reset()
    results = []
    for model in (encoder, torch.compile(encoder, backend="aot_eager")):
        encoder.zero_grad()
        y, after = model(x, state)
        y.square().sum().backward()
        grads = [p.grad.clone() for p in encoder.parameters() if p.grad is not None]
        results.append([y, *after.tensors().values(), *grads])
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch._dynamo.reset()


def train_one_step(rank: int, port: int, folder: str) -> None:
    """One process of two: its half of the batch, gradients averaged."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    encoder = build("mac")
    model = DistributedDataParallel(encoder)
    y, _ = model(tokens(2, 12)[rank : rank + 1])
    y.square().mean().backward()
    torch.save({name: p.grad for name, p in encoder.named_parameters()}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_average_their_gradients(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train_one_step, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    encoder = build("mac")
    encoder(tokens(2, 12))[0].square().mean().backward()
    for name, p in encoder.named_parameters():
        assert first[name].equal(second[name]), name
        torch.testing.assert_close(first[name], p.grad, rtol=1e-4, atol=1e-6)
