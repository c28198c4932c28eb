"""Every DNA preset takes a step at a small width: its variant, inputs, table and borders fit together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from titans_seq.config import TrainDnaConfig, parse_config, preset_names, preset_text
from titans_seq.tasks.build import build_next_base

SMALLER = ["model.d_model=16", "model.n_layers=2", "model.n_heads=2", "input.kmers=[2, 3]", "input.kmer_width=4"]


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("dna-")])
def test_a_dna_preset_takes_a_step(name: str) -> None:
    config = parse_config(TrainDnaConfig, preset_text(name), source=name, overrides=[*SMALLER, "table.megabytes=1"])
    task = build_next_base(config)
    assert config.streams.length % task.encoder.border == 0
    task.expect(10_000)
    rng = np.random.default_rng(0)
    tokens = torch.from_numpy(rng.integers(0, 4, (2, 2 * task.encoder.border)))
    logits, _ = task(tokens)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
    gradients = [parameter.grad for parameter in task.parameters() if parameter.grad is not None]
    assert len(gradients) > 10
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
