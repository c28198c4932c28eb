"""TNT against its equations, shard by shard: what restarts, what is carried, and that whole shards go side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.models.cases import build, in_pieces, tokens
from titans_seq.errors import ConfigError, RangeError
from titans_seq.models.shards import ShardedMixer


def mixer_of(memory: str = "titans_lmm", **options: int) -> ShardedMixer:
    mixer = build("tnt", memory, n_layers=1, **options).double().blocks[0].mixer
    assert isinstance(mixer, ShardedMixer)
    return mixer


def slow(mixer: ShardedMixer, x: Tensor) -> Tensor:
    """Token by token: the local memory with a fresh state and position 0 at each shard, the global one carried."""
    mixer.memory.backend = mixer.local.backend = "recurrent"
    far, near, outputs = mixer.memory.initial_state(len(x)), mixer.local.initial_state(len(x)), []
    for t in range(x.shape[1]):
        token = x[:, t : t + 1]
        inside = t % mixer.shard
        if inside == 0:
            near = mixer.local.initial_state(len(x))
        a, far = mixer.memory(token, far, position=t)
        b, near = mixer.local(token, near, position=inside)
        q = mixer.query(token).unflatten(-1, (mixer.memory.n_heads, -1)).transpose(1, 2)
        assert mixer.persistent is not None
        outputs.append(a + b + mixer.out(mixer.persistent.attend(q).transpose(1, 2).flatten(2)))
    mixer.memory.backend = mixer.local.backend = "auto"
    return torch.cat(outputs, 1)


@pytest.mark.parametrize("memory", ["titans_lmm", "memora", "gated_deltanet"])
@pytest.mark.parametrize("coarse", [4, 12])
def test_equals_the_equations(memory: str, coarse: int) -> None:
    mixer, x = mixer_of(memory, global_chunk=coarse), tokens(2, 29, dtype=torch.float64)
    with torch.no_grad():
        y, _ = mixer(x, mixer.initial_state(2), None, 0)
        torch.testing.assert_close(y, slow(mixer, x), rtol=0, atol=1e-9)


def test_whole_shards_are_rows_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x, seen = mixer_of(), tokens(2, 40, dtype=torch.float64), []
    read = mixer.local.forward
    monkeypatch.setattr(mixer.local, "forward", lambda x, *rest, **kw: seen.append(x.shape[:2]) or read(x, *rest, **kw))
    with torch.no_grad():
        _, state = mixer(x[:, :3], mixer.initial_state(2), None, 0)
        mixer(x[:, 3:], state, None, 3)
    assert seen == [(2, 3), (2, 5), (2 * 4, 8)]


def test_only_the_global_memory_reaches_over_a_border() -> None:
    mixer, x = mixer_of(), tokens(1, 24, dtype=torch.float64)
    changed = x.clone()
    changed[:, 2] += 3
    with torch.no_grad():
        a, b = (mixer(t, mixer.initial_state(1), None, 0)[0] for t in (x, changed))
        assert float((a - b)[:, 8:].abs().max()) > 1e-6
        mixer.memory.off = True
        a, b = (mixer(t, mixer.initial_state(1), None, 0)[0] for t in (x, changed))
    # the global read is off, and its shard is over
    torch.testing.assert_close(a[:, 8:], b[:, 8:], rtol=0, atol=0)
    assert float((a - b)[:, 2:8].abs().max()) > 1e-6


def test_every_shard_teaches_the_start() -> None:
    """The learned start is a leaf of each shard, also of one that begins with a detached state."""
    encoder, x = build("tnt").double(), tokens(1, 16, dtype=torch.float64)
    _, state = encoder(x[:, :8])
    y, _ = encoder(x[:, 8:], state.detach())
    y.square().sum().backward()
    assert all(float(block.mixer.local.start.grad.abs().max()) > 0 for block in encoder.blocks)
    assert all(block.mixer.memory.start.grad is None for block in encoder.blocks)


def test_records_of_folded_shards_are_in_order() -> None:
    encoder, x = build("tnt"), tokens(2, 29)
    with torch.no_grad():
        with encoder.record() as whole:
            encoder(x)
        with encoder.record() as pieces:
            in_pieces(encoder, x, [5, 8, 19])
    for a, b in zip(whole, pieces, strict=True):
        for name in ("surprise", "learning_rate", "forget", "momentum"):
            found, wanted = (torch.cat([getattr(r, name) for r in seen], 2) for seen in (a, b))
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_borders_and_wrong_sizes() -> None:
    assert build("tnt", global_chunk=12).border == 24
    assert build("tnt").config["global_chunk"] == 8
    assert "global_chunk" not in build("lmm").config  # or states saved before it existed would be refused
    with pytest.raises(ConfigError, match=r"'tnt' restarts.*segment=6, chunk_size=4"):
        build("tnt", segment=6)
    with pytest.raises(RangeError, match="global_chunk must be positive"):
        build("tnt", global_chunk=0)
