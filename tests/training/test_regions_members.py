"""Several seeds in one run: what is shown of them, and what a stop says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from titans_seq.errors import InterruptedRun
from titans_seq.training.regions_members import whole_run
from titans_seq.training.regions_tables import Table, remarks_of, together


def test_mean_and_spread_of_every_cell() -> None:
    tables = [Table("t", ["n", "found", "F1", "MCC"], {"ours": row}) for row in ([7, 5, 0.5, None], [7, 6, 0.7, None])]
    assert together(tables) == [
        ("t", ["n", "found", "F1", "MCC"]),
        ("ours", ["7", "5.5 +- 0.7", "0.600 +- 0.141", "-"]),
    ]
    assert together(tables[:1])[1] == ("ours", ["7", "5", "0.5000", "-"])


def test_a_gain_within_the_spread_is_not_claimed() -> None:
    def seed(carried: float, reset: float) -> dict[str, Any]:
        rows = {"carried": carried, "reset": reset, "none": 0.9}
        arms = {name: {"classes": [{"f1": value}, {"f1": 0.9}]} for name, value in rows.items()}
        return {
            "arms": {name: arms[name] for name in ("carried", "reset")},
            "baselines": {"k": [{"f1": 0.1}, {"f1": 0}]},
        }

    (told, best) = remarks_of([seed(0.6, 0.5), seed(0.5, 0.6), seed(0.6, 0.5)])
    assert "makes no clear difference" in told
    assert "+0.033 +- 0.115" in told
    assert "0.567 +- 0.058; the best cheap labeller of bases (k) reaches 0.100 +- 0.000" in best
    assert " helps " in remarks_of([seed(0.6, 0.5), seed(0.6, 0.52)])[0]


def test_a_stop_names_the_run_and_not_the_seed(tmp_path: Path) -> None:
    job: Any = SimpleNamespace(out=tmp_path / "run", resume=True)
    with pytest.raises(InterruptedRun, match=rf"--out {job.out}$"), whole_run(job, writes=True):
        raise InterruptedRun(f"continue with: titans-seq train-regions --resume --out {job.out}/member-2")
