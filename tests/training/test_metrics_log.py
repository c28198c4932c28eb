"""TensorBoard gets the rows of metrics.csv where it is installed, and is not missed where it is not."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from titans_seq.tasks import NextBase
from titans_seq.training import metrics_log
from titans_seq.training.metrics_log import MetricsLog, columns, read_metrics

ROW = dict(zip(columns(NextBase.units), range(3, 100), strict=False))


class FakeWriter:
    """Takes what torch's SummaryWriter takes."""

    made: ClassVar[list[FakeWriter]] = []

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.scalars: list[tuple[str, Any, Any]] = []
        FakeWriter.made.append(self)

    def add_scalar(self, name: str, value: Any, step: Any) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> type[FakeWriter]:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = FakeWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(metrics_log, "find_spec", lambda name: object())
    monkeypatch.setattr(FakeWriter, "made", [])
    return FakeWriter


def test_every_measure_goes_to_tensorboard_at_its_step(tmp_path: Path, board: type[FakeWriter]) -> None:
    log = MetricsLog(tmp_path, units=NextBase.units)
    log.add(ROW)
    log.close()
    (writer,) = board.made
    assert writer.folder == tmp_path / "tensorboard"
    assert writer.purge_step is None
    assert writer.scalars == [(name, ROW[name], ROW["step"]) for name in columns(NextBase.units)[3:]]
    assert {"bits_per_base", "learning_rate", "peak_ram_mb"} <= {name for name, _, _ in writer.scalars}
    assert writer.closed


def test_a_resumed_run_drops_what_tensorboard_has_beyond_its_step(tmp_path: Path, board: type[FakeWriter]) -> None:
    MetricsLog(tmp_path, units=NextBase.units, resume_step=7)
    assert board.made[0].purge_step == 7


@pytest.mark.parametrize("installed", [False, True], ids=["absent", "broken"])
def test_without_it_only_the_table_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr(metrics_log, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # importing it raises ImportError
    log = MetricsLog(tmp_path, units=NextBase.units)
    log.add(ROW)
    log.close()
    assert [row["step"] for row in read_metrics(tmp_path)] == ["3"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
