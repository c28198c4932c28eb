"""The carried state: tied to its model, detachable, movable, and never changed in place."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from tests.models.cases import PAIRS, build, tokens
from titans_seq.errors import ShapeError, StateMismatchError
from titans_seq.models import StreamState


def rebuilt(state: StreamState, fingerprint: str) -> StreamState:
    """The state as it comes back from a file."""
    return StreamState.from_tensors(
        state.tensors(), position=state.position, n_layers=len(state.layers), fingerprint=fingerprint
    )


@pytest.mark.parametrize(("variant", "memory"), PAIRS)
def test_flat_tensors_and_back_give_the_same_bits(variant: str, memory: str) -> None:
    encoder, x = build(variant, memory), tokens(2, 20)
    with torch.no_grad():
        _, state = encoder(x[:, :11])
        wanted, _ = encoder(x[:, 11:], state)
        found, after = encoder(x[:, 11:], rebuilt(state, encoder.fingerprint()))
    assert found.equal(wanted)
    assert after.fingerprint is None
    assert after.encoder() is encoder


def test_a_state_of_another_model_is_refused_with_both_hashes() -> None:
    here, there = build(seed=0), build(seed=1)
    _, state = there(tokens(1, 5))
    foreign = rebuilt(state, there.fingerprint())
    with pytest.raises(StateMismatchError) as caught:
        here(tokens(1, 5), foreign)
    assert here.fingerprint()[:16] in str(caught.value)
    assert there.fingerprint()[:16] in str(caught.value)


def test_fingerprint_follows_weights_and_configuration() -> None:
    encoder = build()
    before = encoder.fingerprint()
    assert build().fingerprint() == before
    assert build(window=7).fingerprint() != before
    weights = copy.deepcopy(encoder.state_dict())
    with torch.no_grad():
        encoder.blocks[1].mixer.memory.start[0, 0] += 1e-6
    assert encoder.fingerprint() != before
    encoder.load_state_dict(weights)
    assert encoder.fingerprint() == before


@pytest.mark.parametrize(("variant", "memory"), PAIRS)
def test_earlier_states_stay_what_they_were(variant: str, memory: str) -> None:
    encoder, x = build(variant, memory), tokens(2, 20)
    with torch.no_grad():
        _, state = encoder(x[:, :6])
        kept = state.clone().tensors()
        encoder(x[:, 6:], state)
    for name, t in state.tensors().items():
        assert t.equal(kept[name]), name


def test_detach_stops_the_gradient_and_nothing_else() -> None:
    encoder, x = build(), tokens(1, 12).requires_grad_()
    _, state = encoder(x[:, :6])
    attached, _ = encoder(x[:, 6:], state)
    cut, after = encoder(x[:, 6:], state.detach())
    assert cut.equal(attached)
    assert float(torch.autograd.grad(attached.sum(), x)[0][:, :6].abs().max()) > 0
    assert not torch.autograd.grad(cut.sum(), x)[0][:, :6].any()
    assert all(not t.requires_grad for t in after.detach().tensors().values())


def test_to_keeps_position_and_dtypes() -> None:
    encoder = build()
    _, state = encoder(tokens(1, 6))
    moved = state.to("meta")
    assert moved.position == 6
    assert {t.device.type for t in moved.tensors().values()} == {"meta"}
    assert {n: t.dtype for n, t in moved.tensors().items()} == {n: t.dtype for n, t in state.tensors().items()}


def test_a_state_that_fits_no_call() -> None:
    encoder, longer = build(), build(n_layers=3)
    _, state = encoder(tokens(2, 5))
    with pytest.raises(ShapeError, match=r"2 layers.*has 3"):
        longer(tokens(2, 5), state)
    with pytest.raises(ShapeError, match="2 rows, but x has 3"):
        encoder(tokens(3, 5), state)


def test_an_orphan_says_so() -> None:
    encoder = build()
    _, state = encoder(tokens(1, 4))
    orphan = rebuilt(state, encoder.fingerprint())
    with pytest.raises(StateMismatchError, match="not tied to a living encoder"):
        orphan.reset()
    assert orphan.bind(encoder).reset().position == 0


def test_state_dict_round_trip_without_pickled_code() -> None:
    encoder, other, file = build(seed=0), build(seed=1), io.BytesIO()
    torch.save(encoder.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.fingerprint() == encoder.fingerprint()
    x = tokens(2, 13)
    with torch.no_grad():
        assert other(x)[0].equal(encoder(x)[0])


def test_a_deep_copy_is_an_encoder_of_its_own() -> None:
    encoder, x = build(), tokens(1, 9)
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        assert twin(x)[0].equal(encoder(x)[0])
        for p in twin.parameters():
            p.add_(1)
        assert not twin(x)[0].equal(encoder(x)[0])
    assert twin.fingerprint() != encoder.fingerprint()
