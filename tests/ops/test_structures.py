"""Memory structures: shapes, network, activations, start."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.ops.cases import STRUCTURES
from titans_seq.errors import RangeError, ShapeError, UnknownNameError
from titans_seq.ops import Structure
from titans_seq.ops.structures import Activation, layer_norm, layer_norm_back


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_slope_and_curvature_of_activations(name: str) -> None:
    act, z = Activation(name), normal(50).mul(3).requires_grad_()
    (slope,) = torch.autograd.grad(act(z).sum(), z, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), z)
    with torch.no_grad():
        torch.testing.assert_close(act.scaled_slope(z, z), z * slope)
        for found, wanted in zip(act.expansion(z), (act(z), slope, curvature), strict=True):
            torch.testing.assert_close(found, wanted)


def test_layer_norm_and_its_adjoint() -> None:
    x, bar = normal(4, 6).requires_grad_(), normal(4, 6, seed=1)
    y, mean, rstd = layer_norm(x)
    torch.testing.assert_close(y, F.layer_norm(x, (6,)))
    (wanted,) = torch.autograd.grad(y, x, bar)
    torch.testing.assert_close(layer_norm_back(bar, x.detach(), mean.detach(), rstd.detach()), wanted)


@pytest.mark.parametrize("name", STRUCTURES)
def test_split_and_join_are_inverses(name: str) -> None:
    st = STRUCTURES[name]
    flat = normal(2, 3, st.size)
    assert [p.shape[-2:] for p in st.split(flat)] == list(st.shapes)
    assert st.join(st.split(flat)).equal(flat)


@pytest.mark.parametrize("name", STRUCTURES)
def test_apply_is_the_printed_network(name: str) -> None:
    st = STRUCTURES[name]
    flat, x = normal(st.size), normal(3, 5)
    weights, h = st.split(flat), x
    if name == "vector":
        wanted = weights[0] * x
    else:
        act = F.silu if st.activation == "silu" else F.gelu
        for i, w in enumerate(weights):
            h = h @ w.T
            h = act(h) if i + 1 < len(weights) else h
        wanted = F.layer_norm(h, (st.value_width,)) if name.startswith("mlp") else h
        wanted = wanted + x if name.startswith("mlp") and st.value_width == 5 else wanted
    torch.testing.assert_close(st.apply(flat, x), wanted)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_start_of_an_mlp_keeps_activations_of_order_one(depth: int) -> None:
    st = Structure("mlp", 64, 64, depth=depth)
    weights = st.split(st.initial(torch.Generator().manual_seed(0)))
    h = F.normalize(torch.randn(100, 64, generator=torch.Generator().manual_seed(1)), dim=-1)
    for i, w in enumerate(weights):
        h = h @ w.T
        assert 0.1 < float(h.std()) < 2
        h = F.gelu(h) if i + 1 < depth else h


def test_linear_structures_start_at_zero() -> None:
    assert not STRUCTURES["matrix"].initial().any()
    assert not STRUCTURES["vector"].initial().any()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("mpl", 4, 4), UnknownNameError, "did you mean 'mlp'"),
        (("vector", 4, 5), ShapeError, "key width 4 and value width 5"),
        (("matrix", 0, 4), RangeError, "widths must be at least 1"),
        (("mlp", 4, 4, 0), RangeError, "depth must be at least 1"),
        (("mlp", 4, 4, 2, 0.1), RangeError, "expansion must be positive"),
        (("mlp", 4, 4, 2, 4, "relu"), UnknownNameError, "activation 'relu'"),
    ],
    ids=lambda x: str(x) if isinstance(x, tuple) else "",
)
def test_shapes_that_cannot_be(arguments: tuple, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Structure(*arguments)
