"""The classifier: a row alone equals the row in a batch, strands, arms of the memory, frozen parts."""

from __future__ import annotations

import pytest
import torch

from titans_seq.config import TrainClassifierConfig, parse_config, preset_text
from titans_seq.errors import UnknownNameError
from titans_seq.genomics.labelled_batches import Batch
from titans_seq.tasks.build_classifier import build_classifier
from titans_seq.tasks.classify import SequenceClassifier, kmer_counts, other_strand, turned
from titans_seq.tasks.small_cnn import SmallCnn

SMALL = ("model.d_model=16", "model.n_heads=2", "classifier.stride=4", "classifier.positions=40", "classifier.parts=4")
CONTEXT = ("classifier.front=context", "classifier.both_ways=false", "input.kmers=[3]")


def make(*overrides: str, n_classes: int = 3) -> SequenceClassifier:
    """A classifier whose every weight matters: those that begin at zero are drawn too."""
    config = parse_config(
        TrainClassifierConfig, preset_text("classifier-tiny"), source="tiny", overrides=[*SMALL, *overrides]
    )
    torch.manual_seed(0)
    task = build_classifier(config, n_classes=n_classes)
    for parameter in task.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    for name, value in task.named_buffers():
        if name.endswith("running_mean"):
            value.normal_()
    return task.double().eval()


def some(rows: int = 5, length: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    tokens = torch.randint(0, 5, (rows, length))
    lengths = torch.tensor([length, 41, 7, 1, 33])[:rows]
    return torch.where(torch.arange(length) < lengths[:, None], tokens, 4), lengths


KINDS = {
    "conv": (),
    "equivariant": ("classifier.reverse_complement=equivariant",),
    "average": ("classifier.reverse_complement=average",),
    "one way": ("classifier.both_ways=false",),
    "no memory": ("model.memory=none", "model.variant=mal"),
    "mac": ("model.variant=mac",),
    "context": CONTEXT,
    "content": ("classifier.content=[2,3]",),
    "content of both strands": ("classifier.content=[3]", "classifier.reverse_complement=equivariant"),
    "no parts": ("classifier.parts=0", "classifier.positions=0"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_equals_the_row_in_a_batch(kind: str) -> None:
    task = make(*KINDS[kind])
    tokens, lengths = some()
    together = task.probabilities(tokens, lengths)
    assert together.sum(1).tolist() == pytest.approx([1.0] * 5)
    for row, length in enumerate(lengths.tolist()):
        alone = task.probabilities(tokens[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-6)


@pytest.mark.parametrize("front", [(), CONTEXT])
@pytest.mark.parametrize("mode", ["equivariant", "average"])
def test_both_strands_score_the_same(mode: str, front: tuple[str, ...]) -> None:
    task = make(f"classifier.reverse_complement={mode}", *front)
    tokens, lengths = some()
    here, there = (task.probabilities(strand, lengths) for strand in (tokens, other_strand(tokens, lengths)))
    assert torch.equal(here, there)
    features = [task.features(strand, lengths) for strand in (tokens, other_strand(tokens, lengths))]
    assert torch.equal(*features) == (mode == "equivariant")


def test_strands_differ_where_they_are_not_merged() -> None:
    task = make()
    tokens, lengths = some()
    assert (
        task.probabilities(tokens, lengths) - task.probabilities(other_strand(tokens, lengths), lengths)
    ).abs().max() > 1e-3


def test_the_other_strand_of_a_row() -> None:
    tokens = torch.tensor([[0, 0, 1, 4, 4, 4], [0, 1, 2, 3, 4, 0]])
    assert other_strand(tokens, torch.tensor([4, 6])).tolist() == [[4, 2, 3, 3, 4, 4], [3, 4, 0, 1, 2, 3]]
    assert turned(torch.arange(8).view(2, 4), torch.tensor([3, 4])).tolist() == [[2, 1, 0, 3], [7, 6, 5, 4]]


def test_kmers_are_counted_where_they_are_known() -> None:
    tokens = torch.tensor([[0, 1, 0, 1, 4, 1], [3, 3, 3, 4, 4, 4]])  # A C A C N C, T T T
    counts = kmer_counts(tokens, 2)
    assert counts.shape == (2, 16)
    assert {n: int(c) for n, c in enumerate(counts[0].tolist()) if c} == {1: 2, 4: 1}
    assert {n: int(c) for n, c in enumerate(counts[1].tolist()) if c} == {15: 2}


def test_the_arms_of_the_memory_differ_where_they_should() -> None:
    task = make("model.chunk_size=4", "evaluation.window=4")
    tokens, lengths = some()
    arms = {arm: task.probabilities(tokens, lengths, arm=arm, window=4) for arm in ("carried", "reset", "off")}
    assert (arms["carried"] - arms["off"]).abs().max() > 1e-4
    # 7 bases are two tokens: no reset lies within the third row.
    changed = (arms["carried"] - arms["reset"]).abs().amax(1) > 1e-9
    assert changed.tolist() == [True, True, False, False, True]
    torch.testing.assert_close(task.probabilities(tokens, lengths), arms["carried"], rtol=0, atol=0)


def test_turning_over_and_hiding_happen_in_training_only() -> None:
    task = make("classifier.reverse_complement=augment", "classifier.mask_bases=0.5", "classifier.dropout=0").float()
    tokens, lengths = some()
    assert torch.equal(task(tokens, lengths), task(tokens, lengths))
    task.train()
    assert not torch.equal(task(tokens, lengths), task(tokens, lengths))


def test_frozen_leaves_front_and_encoder() -> None:
    task = make("classifier.frozen=true").float().train()
    before = {name: value.clone() for name, value in task.state_dict().items()}
    tokens, lengths = some()
    batch = Batch(tokens.numpy(), lengths.numpy(), torch.tensor([0, 1, 2, 0, 1]).numpy(), None)  # type: ignore[arg-type]
    optimiser = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.1)
    task.cost(batch, state=None, device=torch.device("cpu")).total.backward()
    optimiser.step()
    changed = {name.split(".")[0] for name, value in task.state_dict().items() if not torch.equal(before[name], value)}
    assert changed <= {"join", "pool", "head", "places"}
    assert "head" in changed


def test_cost_is_the_cross_entropy_of_the_batch() -> None:
    task = make("classifier.label_smoothing=0").float()
    tokens, lengths = some()
    labels = torch.tensor([0, 1, 2, 0, 1])
    batch = Batch(tokens.numpy(), lengths.numpy(), labels.numpy(), None)  # type: ignore[arg-type]
    cost = task.cost(batch, state=None, device=torch.device("cpu"))
    expected = -task.probabilities(tokens, lengths)[torch.arange(5), labels].log().sum()
    assert cost.targets == 5
    assert float(cost.total.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert task.load_state(cost.state.tensors()) == cost.state


def test_an_unknown_mode_is_named() -> None:
    task = make()
    with pytest.raises(UnknownNameError, match="did you mean 'equivariant'"):
        SequenceClassifier(
            front=task.front, encoder=task.encoder, d_model=16, n_classes=2, parts=4, reverse_complement="equivarient"
        )


def test_the_small_cnn_reads_each_row_for_itself_and_learns() -> None:
    torch.manual_seed(0)
    cnn = SmallCnn(n_classes=2, channels=16)
    tokens, lengths = some()
    together = cnn.probabilities(tokens, lengths)
    alone = cnn.probabilities(tokens[1:2, :41], lengths[1:2])
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-6)
    x = torch.randint(0, 4, (64, 40))
    y = torch.arange(64) % 2
    x[y == 1, 10:16] = torch.tensor([3, 0, 3, 0, 0, 3])
    batch = Batch(x.numpy(), torch.full((64,), 40).numpy(), y.numpy(), None)  # type: ignore[arg-type]
    optimiser = torch.optim.AdamW(cnn.parameters(), lr=3e-3)
    costs = []
    for _ in range(30):
        cost = cnn.cost(batch, state=None, device=torch.device("cpu"))
        optimiser.zero_grad()
        cost.total.backward()
        optimiser.step()
        costs.append(float(cost.total.detach()))
    assert costs[-1] < 0.5 * costs[0]
