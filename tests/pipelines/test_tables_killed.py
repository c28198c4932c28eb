"""`embed` and `surprise` of a table, killed with SIGKILL at a random moment: what was finished is not read again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from titans_seq.cli.group import group
from titans_seq.estimators import series_reading
from titans_seq.streaming.work_folder import WorkFolder

SERIES = 60
OUTPUTS = {"embed": "v.parquet", "surprise": "s.csv"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Series of 20 to 79 rows, no two of one length, so that every one is read by itself."""
    numbers = np.random.default_rng(1)
    names = np.repeat(np.arange(SERIES), np.arange(SERIES) + 20)
    stamps = np.concatenate([np.arange(length) for length in range(20, SERIES + 20)])
    path = tmp_path / "table.csv"
    pl.DataFrame({"id": names, "t": stamps, "y": numbers.normal(size=len(names))}).write_csv(path)
    return path


def words(command: str, table: Path, out: Path) -> list[str]:
    given = ("-q", command, table, "--id-col", "id", "--time-col", "t", "--device", "cpu", "-o", out)
    return [str(word) for word in given]


def called(command: str, table: Path, out: Path) -> None:
    found = CliRunner().invoke(group, words(command, table, out), catch_exceptions=False)
    assert found.exit_code == 0, found.output


@pytest.mark.slow
@pytest.mark.parametrize("command", OUTPUTS)
def test_killed_and_run_again(command: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        folder.mkdir()
    whole, parts = (folder / OUTPUTS[command] for folder in folders)
    called(command, table, whole)
    # Each series is noted as it ends, rather than with those of its second.
    code = "import sys; from titans_seq.streaming import work_folder; work_folder.NOTE_SECONDS = 0.0; "
    code += "from titans_seq.cli import main; main(sys.argv[1:])"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, *words(command, table, parts)], env=environment)
    killed_after, noted = (
        random.Random(os.getpid()).randint(1, SERIES - 20),
        parts.with_name(f"{parts.name}.work") / "done",
    )
    deadline = time.monotonic() + 120
    while not (noted.exists() and noted.read_bytes().count(b"\n") >= killed_after) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in folders[1].iterdir()] == [noted.parent.name]
    finished = noted.read_bytes().count(b"\n")

    read: list[int] = []
    original = series_reading._read_group

    def counted(task, tokens, group, *sizes, **more):
        read.extend(group)
        return original(task, tokens, group, *sizes, **more)

    monkeypatch.setattr(series_reading, "_read_group", counted)
    called(command, table, parts)
    assert len(read) == SERIES - finished, f"killed after {killed_after} series"
    assert parts.read_bytes() == whole.read_bytes()
    assert [path.name for path in folders[1].iterdir()] == [parts.name]


def test_another_table_or_setting_is_another_job(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A work folder left by a run of other numbers is not gone on with."""
    out = tmp_path / "s.csv"
    with monkeypatch.context() as patch:
        patch.setattr("titans_seq.pipelines.surprise_series.write_rows", lambda *_: (_ for _ in ()).throw(KeyError))
        with pytest.raises(KeyError):
            called("surprise", table, out)
    assert (out.with_name("s.csv.work") / "done").read_bytes().count(b"\n") == SERIES
    text = table.read_text().splitlines()
    text[-1] = text[-1].rpartition(",")[0] + ",123.5"
    table.write_text("\n".join(text) + "\n")
    finished: list[int] = []
    soon = WorkFolder.finish_soon
    monkeypatch.setattr(WorkFolder, "finish_soon", lambda self, unit: (finished.append(unit), soon(self, unit)))
    called("surprise", table, out)
    assert sorted(finished) == list(range(SERIES))
    assert out.read_text().splitlines()[-1].startswith(f"{SERIES - 1},{SERIES + 18},123.5,")
