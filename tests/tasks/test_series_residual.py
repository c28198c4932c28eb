"""The residual encoder: no correction at first, nothing looks ahead, any cut the same, unknown targets cost nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from titans_seq.models import Encoder
from titans_seq.tasks.series_residual import ResidualSegment, SeriesResidual

FEATURES, HORIZON = 5, 6


@pytest.fixture(params=["gated_deltanet", "none"])
def task(request: pytest.FixtureRequest) -> SeriesResidual:
    torch.manual_seed(0)
    encoder = Encoder(variant="mag", memory=request.param, d_model=16, n_layers=1, n_heads=2, window=4, chunk_size=4)
    made = SeriesResidual(encoder=encoder, features=FEATURES, horizon=HORIZON)
    torch.nn.init.normal_(made.head.weight)
    return made.eval()


def segment(rows: int = 2, tokens: int = 12) -> ResidualSegment:
    rng = np.random.default_rng(0)
    return ResidualSegment(
        features=rng.normal(size=(rows, tokens, FEATURES)).astype(np.float32),
        targets=rng.normal(size=(rows, tokens, HORIZON)).astype(np.float32),
        mask=np.ones((rows, tokens), dtype=bool),
        reset=np.ones(rows, dtype=bool),
    )


def test_a_new_task_corrects_nothing_and_costs_what_the_ridge_leaves() -> None:
    encoder = Encoder(variant="mag", memory="gated_deltanet", d_model=16, n_layers=1, n_heads=2)
    given = segment()
    found = SeriesResidual(encoder=encoder, features=FEATURES, horizon=HORIZON).cost(
        given, state=None, device=torch.device("cpu")
    )
    assert float(found.total.detach()) == pytest.approx(float((given.targets**2).sum()), rel=1e-5)
    assert found.targets == given.targets.size


@torch.no_grad()
def test_no_later_token_moves_an_earlier_correction(task: SeriesResidual) -> None:
    features = torch.from_numpy(segment().features)
    changed = features.clone()
    changed[:, 7:] += 3
    before, after = task(features)[0], task(changed)[0]
    torch.testing.assert_close(after[:, :7], before[:, :7])
    assert not torch.allclose(after[:, 7], before[:, 7])


@torch.no_grad()
def test_any_cut_and_a_state_from_tensors_give_the_same(task: SeriesResidual) -> None:
    features = torch.from_numpy(segment().features)
    whole, _ = task(features)
    parts, state = [], None
    for piece in features.split([1, 4, 2, 5], dim=1):
        found, state = task(piece, None, state)
        parts.append(found)
        state = task.load_state(state.tensors())
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


def test_unknown_steps_and_masked_tokens_cost_nothing(task: SeriesResidual) -> None:
    given = segment()
    targets, mask = given.targets.copy(), given.mask.copy()
    targets[0, 3, 2:] = np.nan
    mask[1, 9:] = False
    found = task.cost(replace(given, targets=targets, mask=mask), state=None, device=torch.device("cpu"))
    assert found.targets == given.targets.size - (HORIZON - 2) - 3 * HORIZON
    assert torch.isfinite(found.total)
    found.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in task.parameters() if p.grad is not None)


@torch.no_grad()
def test_resetting_rows_is_a_fresh_start(task: SeriesResidual) -> None:
    features = torch.from_numpy(segment(tokens=8).features)
    _, state = task(features)
    again, _ = task(features, None, state.detach().reset(torch.tensor([True, True])))
    torch.testing.assert_close(again, task(features)[0], rtol=1e-4, atol=1e-5)
