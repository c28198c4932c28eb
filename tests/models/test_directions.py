"""Forward, reverse and both: one is the other flipped, and both is their join."""

from __future__ import annotations

import pytest
import torch

from tests.models.cases import VARIANTS, build, in_pieces, tokens
from titans_seq.errors import ConfigError, UnknownNameError


@pytest.mark.parametrize("variant", VARIANTS)
def test_reverse_is_forward_over_the_flipped_tokens(variant: str) -> None:
    encoder, x = build(variant), tokens(2, 19)
    mask = torch.rand(2, 19) > 0.2
    with torch.no_grad():
        found, _ = encoder(x, None, mask, direction="reverse")
        wanted, _ = encoder(x.flip(1), None, mask.flip(1))
    assert found.equal(wanted.flip(1))


def test_reverse_streams_from_the_right() -> None:
    encoder, x = build("mac", direction="reverse"), tokens(1, 19)
    with torch.no_grad():
        whole, _ = encoder(x)
        right, state = encoder(x[:, 12:])
        left, _ = encoder(x[:, :12], state)
    torch.testing.assert_close(torch.cat([left, right], 1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_joins_the_two_at_their_own_positions(variant: str) -> None:
    encoder, x = build(variant, direction="both"), tokens(2, 19)
    with torch.no_grad():
        found, state = encoder(x)
        ways = [encoder(x, direction=way)[0] for way in ("forward", "reverse")]
        assert found.equal(encoder.combine(*ways))
        assert state.position == 19
        # position 7 of the output knows tokens on both sides
        for at in (3, 12):
            changed = x.clone()
            changed[:, at] += 3
            assert float((encoder(changed)[0][:, 7] - found[:, 7]).abs().max()) > 1e-6


def test_both_does_not_stream_and_says_what_to_do() -> None:
    encoder, x = build(direction="both"), tokens(1, 9)
    _, state = encoder(x)
    with pytest.raises(ConfigError, match=r"one call.*direction='forward'.*direction='reverse'.*combine"):
        encoder(x, state)


def test_combine_needs_an_encoder_of_both() -> None:
    encoder, x = build(), tokens(1, 9)
    with pytest.raises(ConfigError, match="direction='both'"):
        encoder.combine(x, x)


def test_unknown_direction() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'reverse'"):
        build(direction="revers")
    encoder, x = build(), tokens(1, 9)
    with pytest.raises(UnknownNameError, match="unknown direction 'up'"):
        encoder(x, direction="up")


def test_pieces_of_one_direction_at_a_time_rebuild_both() -> None:
    encoder, x = build("lmm", direction="both"), tokens(1, 18)
    with torch.no_grad():
        wanted, _ = encoder(x)
        encoder.direction = "forward"
        ahead, _ = in_pieces(encoder, x, [5, 11])
        back, _ = in_pieces(encoder, x.flip(1), [7])
    torch.testing.assert_close(encoder.combine(ahead, back.flip(1)), wanted, rtol=0, atol=1e-5)
