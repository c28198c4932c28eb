"""Recorded reads, with a stand-in for `torch.cuda.CUDAGraph` that repeats the call into the recorded addresses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from tests.models.cases import VARIANTS, assert_same_state, build, tokens
from titans_seq.models import StreamState
from titans_seq.models.graphs import ReplayedReads
from titans_seq.streaming import Encoder


class Recorder:
    """Counts recordings and replays."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0

    def __call__(self, call: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], Callable[[], None]]:
        self.recordings += 1
        outputs = [t.clone() for t in call()]

        def replay() -> None:
            self.replays += 1
            for kept, new in zip(outputs, call(), strict=True):
                kept.copy_(new)

        return outputs, replay


def streamed(
    encoder: Encoder, x: Tensor, mask: Tensor | None, reads: ReplayedReads, size: int
) -> tuple[Tensor, list[StreamState]]:
    """As the encoder does on CUDA, with pieces of ``size`` tokens; the state after each piece."""
    state, outputs, states = encoder.initial_state(x.shape[0]), [], []
    for start in range(0, x.shape[1], size):
        piece, marks = x[:, start : start + size], None if mask is None else mask[:, start : start + size]
        y, layers = reads.read(encoder._run_blocks, piece, state.layers, marks, state.position, settings=())
        state = StreamState(layers, state.position + piece.shape[1], encoder=encoder)
        outputs.append(encoder.norm(y))
        states.append(state)
    return torch.cat(outputs, 1), states


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_replays_give_what_calls_give(variant: str, masked: bool) -> None:
    encoder, x, recorder = build(variant), tokens(2, 8 * 5 + 3), Recorder()
    mask = torch.rand(2, x.shape[1]) > 0.2 if masked else None
    with torch.no_grad():
        wanted, end = encoder(x, None, mask)
        found, states = streamed(encoder, x, mask, ReplayedReads(recorder), 8)
        first = encoder(x[:, :16], None, None if mask is None else mask[:, :16])[1]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert_same_state(states[-1], end, 1e-4)
    assert_same_state(states[1], first, 1e-4)  # an earlier state is not overwritten by later replays
    # the first piece shows the shape, the second is recorded, four are replayed; the odd last one is neither
    assert (recorder.recordings, recorder.replays) == (1, 4)


def test_what_changes_the_kernels_is_recorded_apart() -> None:
    encoder, x, recorder = build(), tokens(2, 8), Recorder()
    reads, state = ReplayedReads(recorder), encoder.initial_state(2)

    def read(x: Tensor, mask: Tensor | None = None, settings: object = ()) -> None:
        reads.read(encoder._run_blocks, x, state.layers, mask, 0, settings=settings)

    with torch.no_grad():
        for _ in range(2):
            read(x)
            read(x[:, :4])
            read(x, torch.ones(2, 8, dtype=torch.bool))
            read(x, settings=(True,))
            with torch.autocast("cpu", torch.bfloat16):
                read(x)
    assert recorder.recordings == 5


def test_a_copied_encoder_records_anew() -> None:
    encoder, x, recorder = build(), tokens(1, 8), Recorder()
    encoder._replays = ReplayedReads(recorder)
    state = encoder.initial_state(1)
    with torch.no_grad():
        for _ in range(2):
            encoder._replays.read(encoder._run_blocks, x, state.layers, None, 0, settings=())
        twin = copy.deepcopy(encoder)
        for _ in range(2):
            twin._replays.read(twin._run_blocks, x, state.layers, None, 0, settings=())
    assert recorder.recordings == 2


def test_graphs_are_for_cuda_without_gradients_at_borders() -> None:
    encoder, x = build(), tokens(1, 8)
    encoder.graphs = True
    wanted = build()(x)[0]
    assert encoder(x)[0].equal(wanted)  # on a CPU nothing is recorded
    assert not encoder._may_replay(0)
    with torch.no_grad():
        assert encoder._may_replay(16)
        assert not encoder._may_replay(4)
        with encoder.record():
            assert not encoder._may_replay(0)
