"""The labelling network: the strands are equal, memory goes from block to block, labels left out cost nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from titans_seq.errors import RangeError
from titans_seq.genomics import complement, encode
from titans_seq.models import Encoder
from titans_seq.tasks.base_labels import IGNORED, BaseLabels
from titans_seq.tasks.gene_calls import ContigScores, frame_log_odds
from titans_seq.tasks.label_cnn import LabelCnn
from titans_seq.tasks.label_scan import read_ahead, scan

LENGTH = 144
CPU = torch.device("cpu")


@pytest.fixture
def task() -> BaseLabels:
    torch.manual_seed(0)
    encoder = Encoder(variant="hybrid", memory="titans_lmm", d_model=16, n_layers=2, n_heads=2, chunk_size=4, window=4)
    made = BaseLabels(
        encoder=encoder, d_model=16, n_states=4, patch=12, margin=24, width=8, table_width=4, start_codons=(14, 46, 62)
    )
    return made.eval()


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, 4 * LENGTH).astype(np.uint8)


def segment(tokens: np.ndarray, labels: np.ndarray) -> SimpleNamespace:
    """A block without windows of rare states, nothing known of its starts."""
    rows = len(tokens)
    return SimpleNamespace(
        tokens=tokens, labels=labels, sites=np.full_like(labels, IGNORED),
        rare_tokens=np.empty((rows, 0, 96), np.uint8), rare_labels=np.empty((rows, 0, 2, 48), np.int8),
    )  # fmt: skip


def test_exchanging_the_strands_exchanges_the_answers(task: BaseLabels, tokens: np.ndarray) -> None:
    block = tokens[: LENGTH + 48]
    with torch.no_grad():
        here, _ = task(torch.from_numpy(block.copy())[None])
        there, _ = task(torch.from_numpy(complement(block[::-1]).copy())[None])
    assert torch.allclose(here.states[0, 0], there.states[0, 1].flip(0), atol=1e-5)
    assert torch.allclose(here.states[0, 1], there.states[0, 0].flip(0), atol=1e-5)
    assert torch.allclose(here.sites[0, 0], there.sites[0, 1].flip(0), atol=1e-5)


def test_starts_are_asked_for_at_start_codons_only(task: BaseLabels) -> None:
    text = "A" * 24 + "ATG" + "C" * (LENGTH - 6) + "CAT" + "A" * 24
    with torch.no_grad():
        found, _ = task(torch.from_numpy(encode(text).copy())[None])
    assert torch.isfinite(found.sites[0, 0]).nonzero().flatten().tolist() == [0]
    assert torch.isfinite(found.sites[0, 1]).nonzero().flatten().tolist() == [LENGTH - 1]


def test_rows_do_not_mix(task: BaseLabels, tokens: np.ndarray) -> None:
    rows = torch.from_numpy(np.stack([tokens[: LENGTH + 48], tokens[100 : LENGTH + 148]]))
    with torch.no_grad():
        both, _ = task(rows)
        alone, _ = task(rows[1:])
    assert torch.allclose(both.states[1], alone.states[0], atol=1e-5)


def test_memory_goes_from_block_to_block(task: BaseLabels, tokens: np.ndarray) -> None:
    def states(arm: str) -> np.ndarray:
        blocks = scan(task, tokens, length=LENGTH, arm=arm)  # type: ignore[arg-type]
        return ContigScores.gather(blocks, length=tokens.size, n_states=4).states.astype(np.float32)

    carried, reset, off = states("carried"), states("reset"), states("off")
    assert np.allclose(carried[:, :LENGTH], reset[:, :LENGTH], atol=2e-3)  # float16 keeps three digits
    assert np.abs(carried[:, LENGTH:] - reset[:, LENGTH:]).max() > 1e-2
    assert np.abs(off - reset).max() > 1e-2
    assert np.isfinite(carried).all()


def test_a_scan_goes_on_behind_what_was_read(task: BaseLabels, tokens: np.ndarray) -> None:
    whole = list(scan(task, tokens, length=LENGTH))
    state = read_ahead(task, tokens[: 2 * LENGTH], length=LENGTH)
    rest = list(scan(task, tokens[2 * LENGTH :], length=LENGTH, state=state))
    inner = slice(30, LENGTH - 30)  # the margins of the second scan do not see across the cut
    assert (np.isfinite(whole[3].sites[:, inner]) == np.isfinite(rest[1].sites[:, inner])).all()
    assert np.abs(whole[3].states - rest[1].states).max() < 0.5
    with pytest.raises(RangeError, match="multiple of 48"):
        next(scan(task, tokens, length=100))


def test_labels_left_out_cost_nothing(task: BaseLabels, tokens: np.ndarray) -> None:
    labels = np.zeros((1, 2, LENGTH), np.int8)
    given = segment(tokens[None, : LENGTH + 48], labels)
    given.sites = np.zeros_like(labels)
    whole = task.cost(given, state=None, device=CPU)
    assert whole.targets == 2 * LENGTH
    given.labels = labels.copy()
    given.labels[0, 1] = IGNORED
    half = task.cost(given, state=None, device=CPU)
    assert half.targets == LENGTH
    assert float(half.total.detach()) < float(whole.total.detach())
    again = task.load_state(whole.state.detach().tensors())
    assert again.encoder.position == whole.state.encoder.position


def test_it_learns_a_frame_from_a_few_steps() -> None:
    torch.manual_seed(0)
    encoder = Encoder(variant="lmm", memory="none", d_model=16, n_layers=1, n_heads=2, chunk_size=4)
    task = BaseLabels(encoder=encoder, d_model=16, n_states=4, patch=12, margin=24, width=8, table_width=4)
    codons = encode("GCT" * ((LENGTH + 48) // 3)).copy()
    labels = np.stack([np.arange(LENGTH) % 3 + 1, np.zeros(LENGTH)])[None].astype(np.int8)
    given = segment(codons[None], labels)
    optimiser = torch.optim.Adam(task.parameters(), 1e-2)
    for _ in range(25):
        optimiser.zero_grad()
        cost = task.cost(given, state=None, device=CPU)
        (cost.total / cost.targets).backward()
        optimiser.step()
    assert float(cost.total.detach()) / cost.targets < 0.1


def test_frame_log_odds_follow_the_codon() -> None:
    sure = np.log(np.eye(3, dtype=np.float32)[np.arange(6) % 3] * 0.98 + 0.01)
    odds = frame_log_odds(sure)
    assert (odds[0] > 4).all()
    assert (odds[1:] < -4).all()


def test_rare_states_are_shown_more_often_and_probabilities_stay(task: BaseLabels, tokens: np.ndarray) -> None:
    """With nothing to tell the bases apart the optimum is the share in the genome, whatever was shown."""
    shares, shown = [0.7, 0.29, 0.005, 0.005], [0.4, 0.2, 0.3, 0.1]
    task.expect(shares, shown=shown)
    assert task.head.bias.softmax(0).tolist() == pytest.approx(shares)
    states = np.repeat(np.arange(4), (np.array(shown) * 240).astype(int))
    labels = np.full(2 * LENGTH, IGNORED, np.int8)
    labels[: states.size] = states
    torch.nn.init.zeros_(task.head.weight)
    torch.nn.init.zeros_(task.head.bias)
    given = segment(tokens[None, : LENGTH + 48], labels.reshape(1, 2, LENGTH))
    optimiser = torch.optim.LBFGS([task.head.bias], max_iter=60)

    def cost() -> torch.Tensor:
        optimiser.zero_grad()
        found = task.cost(given, state=None, device=CPU).total
        found.backward()
        return found

    optimiser.step(cost)
    assert task.head.bias.softmax(0).tolist() == pytest.approx(shares, abs=1e-3)
    assert "shift" not in task.state_dict()


def test_windows_of_rare_states_are_added_and_leave_the_memory(task: BaseLabels, tokens: np.ndarray) -> None:
    rows = np.stack([tokens[: LENGTH + 48], tokens[100 : LENGTH + 148]])
    given = segment(rows, np.zeros((2, 2, LENGTH), np.int8))
    plain = task.cost(given, state=None, device=CPU)
    given.rare_tokens = np.stack([tokens[200:296], tokens[300:396]])[:, None]
    given.rare_labels = np.ones((2, 1, 2, 48), np.int8)
    more = task.cost(given, state=None, device=CPU)
    assert more.targets == plain.targets + 2 * 96
    windows = segment(given.rare_tokens[:, 0], given.rare_labels[:, 0])
    state = plain.state.detach().reset(torch.tensor([True, False]))  # every other row reads with what it holds
    rare = task.cost(windows, state=state, device=CPU)
    assert float(more.total.detach()) == pytest.approx(float((plain.total + rare.total).detach()), rel=1e-5)
    afresh = task.cost(windows, state=None, device=CPU)
    assert abs(float((rare.total - afresh.total).detach())) > 1e-3
    for name, value in plain.state.tensors().items():
        assert torch.equal(value, more.state.tensors()[name])


def test_the_cnn_treats_the_strands_alike(tokens: np.ndarray) -> None:
    torch.manual_seed(0)
    cnn = LabelCnn(n_states=4, channels=8).eval()
    block = tokens[: LENGTH + 48]
    with torch.no_grad():
        here = cnn(torch.from_numpy(block.copy())[None], margin=24)
        there = cnn(torch.from_numpy(complement(block[::-1]).copy())[None], margin=24)
    assert here.shape == (1, 2, LENGTH, 4)
    assert torch.allclose(here[0, 0], there[0, 1].flip(0), atol=1e-5)


def test_noise_and_dropout_are_for_training_alone(task: BaseLabels, tokens: np.ndarray) -> None:
    task.noise, task.dropout.p = 0.2, 0.3
    block = torch.from_numpy(tokens[: LENGTH + 48].copy())[None]
    block[0, 30:60] = 4
    with torch.no_grad():
        assert torch.equal(task.hidden(block), task.hidden(block))
        task.train()
        torch.manual_seed(1)
        noisy = task._noisy(block.long())
        assert 0.05 < (noisy != block).float().mean() < 0.25
        assert (noisy[0, 30:60] == 4).all()
        assert int(noisy[0, :30].max()) < 4
        assert not torch.equal(task.hidden(block), task.hidden(block))
