"""Retention gates: links and their inverses, slopes, borders."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.ops.cases import GATES, STRUCTURES
from titans_seq.errors import RangeError
from titans_seq.ops import make_gate

LINKED = ("lq", "lq_exact", "kl", "bregman")


def matrix(seed: int = 0, rows: int = 3, columns: int = 4) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("gate", ["none", "l2", "elastic_net"])
def test_weights_are_the_dual_where_the_gate_has_no_link(gate: str) -> None:
    a = matrix()
    assert GATES[gate].link(a).equal(a)
    assert GATES[gate].slope(a).eq(1).all()


@pytest.mark.parametrize("exact", [False, True], ids=["printed", "exact"])
@pytest.mark.parametrize("q", [1.5, 2.0, 4.0])
def test_dual_of_lq_has_the_wanted_weights(q: float, exact: bool) -> None:
    """For the exact form up to a positive factor: its link is of degree 1, and the norm that is left is free."""
    gate = make_gate("lq", q=q, exact=exact)
    w = matrix()
    found = gate.link(gate.dual(w))
    torch.testing.assert_close(found / found.norm(), w / w.norm(), rtol=1e-6, atol=1e-6)
    if not exact:
        torch.testing.assert_close(found, w, rtol=1e-6, atol=1e-6)


def test_dual_of_kl_orders_its_rows_as_the_weights() -> None:
    w = matrix()
    found = GATES["kl"].link(GATES["kl"].dual(w))
    assert found.argsort(-1).equal(w.argsort(-1))


@pytest.mark.parametrize("gate", LINKED)
def test_slope_is_the_row_mean_of_the_links_own_slopes(gate: str) -> None:
    """For lq without what the shared norm adds, which is not local to a row."""
    a, g = matrix(), GATES[gate]
    if gate.startswith("lq"):
        norm = g.link(a)[0, 0] / (a[0, 0] * (a[0, 0].abs() ** 2 if gate == "lq_exact" else 1))

        def local(x: Tensor) -> Tensor:
            return norm * (x * x.abs() ** 2 if gate == "lq_exact" else x)
    else:
        local = g.link
    jacobian = torch.func.jacrev(local)(a).flatten(2).flatten(0, 1)
    diagonal = jacobian.diagonal().view_as(a)
    torch.testing.assert_close(g.slope(a).expand(3, 1), diagonal.mean(-1, keepdim=True), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("gate", GATES)
def test_a_border_without_writes_is_idempotent(gate: str) -> None:
    g, none = GATES[gate], torch.zeros(1, 1, dtype=torch.float64)
    once = g.border(matrix(), none)
    torch.testing.assert_close(g.border(once, none), once, rtol=0, atol=1e-14)
    torch.testing.assert_close(g.link(once), g.link(matrix()), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_kl_rows_lie_on_the_scaled_simplex(scale: float) -> None:
    w = make_gate("kl", scale=scale).link(5 * matrix())
    assert bool((w > 0).all())
    torch.testing.assert_close(w.sum(-1), torch.full((3,), 4 * scale, dtype=torch.float64))


def test_kl_border_stores_the_logarithm_of_the_weights() -> None:
    gate = GATES["kl"]
    stored = gate.border(matrix() + 7, torch.zeros(1, 1, dtype=torch.float64))
    torch.testing.assert_close(4 * stored.exp(), gate.link(matrix()))


def test_elastic_net_makes_zeros_in_step_with_what_was_written() -> None:
    gate, a = make_gate("elastic_net", gamma=0.5), torch.tensor([[0.2, -0.9, 1.5, -0.4]])
    assert gate.border(a, torch.tensor([[1.0]])).tolist() == [[0.0, pytest.approx(-0.4), 1.0, 0.0]]
    assert gate.border(a, torch.tensor([[0.0]])).equal(a)


def test_bregman_stays_between_zero_and_one() -> None:
    w = GATES["bregman"].link(8 * matrix())
    assert bool(((w > 0) & (w < 1)).all())


def test_both_forms_of_lq_coincide_at_two() -> None:
    a, printed, exact = matrix(), make_gate("lq", q=2.0), make_gate("lq", q=2.0, exact=True)
    torch.testing.assert_close(printed.link(a), a)
    torch.testing.assert_close(exact.link(a), printed.link(a))
    torch.testing.assert_close(exact.slope(a), printed.slope(a).expand(3, 1))
    assert not torch.allclose(make_gate("lq", exact=True).link(a), make_gate("lq").link(a))


def test_printed_lq_has_the_norm_that_follows() -> None:
    """||W||_q = ||A||_q^(3 - q): at q = 4 the memory shrinks as its dual grows."""
    for q in (1.5, 4.0):
        a, gate = matrix(), make_gate("lq", q=q)
        norm = torch.linalg.vector_norm
        torch.testing.assert_close(norm(gate.link(a), q), norm(a, q) ** (3 - q), rtol=1e-8, atol=0)


def test_lq_is_lengthened_to_its_floor_and_no_further() -> None:
    gate, a, none = make_gate("lq", floor=0.1), matrix(), torch.zeros(1, 1, dtype=torch.float64)
    norm = torch.linalg.vector_norm
    assert gate.border(a, none).equal(a)
    short = gate.border(1e-3 * a, none)
    assert float(norm(short, 4)) == pytest.approx(0.1, rel=1e-6)
    torch.testing.assert_close(short / norm(short), a / norm(a), rtol=1e-12, atol=0)
    assert make_gate("lq", floor=0.0).border(1e-3 * a, none).equal(1e-3 * a)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("gate", ["lq", "lq_exact"])
def test_lq_never_starts_from_zero(gate: str, structure: str) -> None:
    st = STRUCTURES[structure]
    for a in st.split(GATES[gate].initial(st)):
        assert float(a.abs().max()) > 1e-3
        assert GATES[gate].link(a).isfinite().all()


@pytest.mark.parametrize("gate", LINKED)
def test_links_are_finite_with_their_gradient_at_zero(gate: str) -> None:
    zero = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    for value in (GATES[gate].link(zero), GATES[gate].slope(zero)):
        assert value.isfinite().all()
        if value.requires_grad:
            assert torch.autograd.grad(value.sum(), zero)[0].isfinite().all()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("lq", {"q": 1.0}, "q must"),
        ("kl", {"scale": 0.0}, "scale must"),
        ("elastic_net", {"gamma": -1.0}, "gamma must"),
    ],
)
def test_options_out_of_range(name: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(RangeError, match=words):
        make_gate(name, **options)
