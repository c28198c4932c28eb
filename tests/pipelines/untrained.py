"""What a run of `train-dna` leaves, without the training."""

from __future__ import annotations

from pathlib import Path

import torch

from titans_seq.config import TrainDnaConfig, dump_config, parse_config, preset_text
from titans_seq.tasks.build import build_next_base
from titans_seq.tensor_files import save_tensors

SMALL = [
    "model.d_model=16", "model.n_layers=2", "model.n_heads=1", "model.chunk_size=8", "input.kmers=[3]",
    "input.kmer_width=4", "streams.length=64", "evaluation.window=256", "evaluation.lead_in=32", "evaluation.piece=512",
]  # fmt: skip


def write_model(folder: Path, *overrides: str) -> Path:
    """A run's weights, drawn at random, with a head that says something."""
    config = parse_config(TrainDnaConfig, preset_text("dna-tiny"), source="", overrides=[*SMALL, *overrides])
    torch.manual_seed(2)
    task = build_next_base(config)
    torch.nn.init.normal_(task.head.weight, std=0.5)
    folder.mkdir()
    save_tensors(folder / "model.safetensors", task.state_dict(), metadata={"config": dump_config(config)})
    return folder
