"""A run's weights open as the task that wrote them; anything else is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from titans_seq.config import TrainDnaConfig, dump_config, parse_config, preset_text
from titans_seq.errors import InputFileError
from titans_seq.streaming import open_dna_model
from titans_seq.tasks.build import build_next_base
from titans_seq.tensor_files import save_tensors


def test_a_run_opens_as_what_was_trained(tmp_path: Path) -> None:
    config = parse_config(TrainDnaConfig, preset_text("dna-tiny"), source="dna-tiny")
    torch.manual_seed(3)
    task = build_next_base(config).eval()
    torch.nn.init.normal_(task.head.weight)
    save_tensors(tmp_path / "model.safetensors", task.state_dict(), metadata={"config": dump_config(config)})
    model = open_dna_model(tmp_path)
    tokens = torch.randint(0, 4, (1, 100))
    with torch.no_grad():
        assert torch.equal(model.task(tokens)[0], task(tokens)[0])
    assert model.config == config


def test_what_is_not_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"expected a run folder with model\.safetensors"):
        open_dna_model(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(InputFileError, match="finish it by the command that began it, with --resume --out"):
        open_dna_model(tmp_path)
    save_tensors(tmp_path / "model.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(InputFileError, match="no configuration inside"):
        open_dna_model(tmp_path)
