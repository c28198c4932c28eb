"""A DNA model small enough for every test, its weights random but its head not silent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from titans_seq.config import TrainDnaConfig, dump_config, parse_config, preset_text
from titans_seq.streaming import DnaModel, open_dna_model
from titans_seq.tasks.build import build_next_base
from titans_seq.tensor_files import save_tensors

SMALL = [
    "model.d_model=16", "model.n_layers=2", "model.n_heads=2", "model.chunk_size=8", "input.kmers=[3]",
    "input.kmer_width=4", "input.window=6", "table.megabytes=0",
]  # fmt: skip


def make_model(folder: Path, *, seed: int = 3, settings: list[str] = SMALL) -> DnaModel:
    """Write and open a run folder's weights, random."""
    config = parse_config(TrainDnaConfig, preset_text("dna-tiny"), source="dna-tiny", overrides=settings)
    torch.manual_seed(seed)
    task = build_next_base(config)
    with torch.no_grad():
        for name, p in task.named_parameters():
            if name.startswith(("head", "context.tables")):
                p.normal_(std=0.5)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / "model.safetensors", task.state_dict(), metadata={"config": dump_config(config)})
    return open_dna_model(folder)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> DnaModel:
    return make_model(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> DnaModel:
    return make_model(tmp_path_factory.mktemp("other"), seed=4)


@pytest.fixture(scope="session")
def table_model(tmp_path_factory: pytest.TempPathFactory) -> DnaModel:
    """With a table beside the network, which reading changes in place."""
    table = ["table.megabytes=0.05", "table.orders=[1, 2, 4]", "table.copies=[12]", "table.rate=0.05"]
    return make_model(tmp_path_factory.mktemp("table"), settings=[*SMALL, *table])


@pytest.fixture(params=["model", "table_model"])
def any_model(request: pytest.FixtureRequest) -> DnaModel:
    found: DnaModel = request.getfixturevalue(request.param)
    return found
