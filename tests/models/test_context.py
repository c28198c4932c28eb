"""MAC against Titans Eq. 21-25 token by token: causal h_j, weights frozen per segment, the gate reads after writing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.models.cases import D_MODEL, build, tokens
from titans_seq.models.attention import rotate
from titans_seq.models.context import ContextMixer


def read(mixer: ContextMixer, x: Tensor, dual: Tensor) -> Tensor:
    """M*(q) of one token with weights `dual` (H, size), normalised per head: (H, D_v)."""
    memory = mixer.memory
    st, gate = memory.rule.structure, memory.rule.retention
    q = F.silu(mixer.query(x)).view(mixer.heads, -1)
    q = q / q.norm(dim=-1, keepdim=True)
    reads = []
    for h in range(mixer.heads):
        weights = st.join([gate.link(a) for a in st.split(dual[h])])
        y = st.apply(weights, q[h : h + 1])[0]
        reads.append(y / (y.square().mean() + 1e-6).sqrt())
    return torch.stack(reads)


def slow(mixer: ContextMixer, x: Tensor) -> Tensor:
    """One row (T, d_model)."""
    width, outputs = mixer.width, []
    state, hs, xs = mixer.memory.initial_state(1), [], []
    frozen = state["weights"][0]
    for t in range(x.shape[0]):
        q, xk, xv = mixer.qkv(x[t]).view(3, mixer.heads, width)
        h = mixer.remembered(read(mixer, x[t], frozen).flatten())  # Eq. 21: what the past says about this token
        hk, hv = h.view(2, mixer.heads, width)
        hs.append((hk, hv))
        xs.append((xk, xv))
        at, heads = len(xs) - 1, []
        for i in range(mixer.heads):  # Eq. 22-23: [persistent | h | x], each up to this token
            keys = [*mixer.persistent.keys()[i]]
            values = [*mixer.persistent.value[i]]
            for source in (hs, xs):
                keys += [rotate(k[i][None], torch.tensor([j]))[0] for j, (k, _) in enumerate(source)]
                values += [v[i] for _, v in source]
            turned = rotate(q[i][None], torch.tensor([at]))[0]
            scores = torch.stack([k @ turned for k in keys]) / width**0.5
            heads.append(scores.softmax(0) @ torch.stack(values))
        y = mixer.out(torch.cat(heads))
        m, state = mixer.memory(y[None, None], state, position=t)  # Eq. 24: write y, then read
        outputs.append(mixer.gate(y, m[0, 0]))  # Eq. 25
        if (t + 1) % mixer.segment == 0:
            frozen, hs, xs = state["weights"][0], [], []
    return torch.stack(outputs)


@pytest.mark.parametrize("memory", ["titans_lmm", "memora", "gated_deltanet", "moneta"])
def test_equals_the_equations(memory: str) -> None:
    mixer = build("mac", memory, n_layers=1).double().blocks[0].mixer
    assert isinstance(mixer, ContextMixer)
    with torch.no_grad():
        mixer.persistent.key.normal_()
        x = tokens(2, 21, dtype=torch.float64)
        y, _ = mixer(x, mixer.initial_state(2), None, 0)
        for row in range(2):
            torch.testing.assert_close(y[row], slow(mixer, x[row]), rtol=0, atol=1e-9)
    assert y.shape == (2, 21, D_MODEL)


def test_a_segment_reads_what_earlier_segments_wrote_and_not_itself() -> None:
    """With the gate's own read off, only the frozen read is left, and it moves at segment borders only."""
    mixer = build("mac", n_layers=1).double().blocks[0].mixer
    x = tokens(1, 24, dtype=torch.float64)
    seen = []
    with torch.no_grad():
        state = mixer.initial_state(1)
        for t in range(24):
            _, state = mixer(x[:, t : t + 1], state, None, t)
            seen.append(state["frozen"])
    changes = [t + 1 for t in range(1, 24) if not seen[t].equal(seen[t - 1])]
    assert changes == [8, 16, 24]
