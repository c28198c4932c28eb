"""`embed` and `surprise` of tables of series: what a row gets follows from its own series up to there and the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from pipelines import embed_series, surprise_series
from titans_seq.cli import main
from titans_seq.cli.group import group
from titans_seq.timeseries import TableOptions
from titans_seq.timeseries.vector_table import window_rows

START = np.datetime64("2024-01-01T00:00", "us")
STEP = 70


def values(length: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length).cumsum() + 100 * seed


def write_table(path: Path, lengths: dict[str, int], *, without: Sequence[int] = ()) -> Path:
    """Series of whole hours, each with a step at row 70; rows ``without`` are left out of the second one."""
    frames = []
    for seed, (name, length) in enumerate(lengths.items()):
        y = values(length, seed=seed + 1)
        y[STEP:] += 30
        keep = [row for row in range(length) if seed != 1 or row not in without]
        stamps = START + np.arange(length) * np.timedelta64(1, "h")
        frames.append(pl.DataFrame({"meter": [name] * len(keep), "stamp": stamps[keep], "kwh": y[keep]}))
    pl.concat(frames).write_csv(path)
    return path


NAMED = TableOptions(id_col="meter", time_col="stamp", target_cols=("kwh",))


def vectors(table: Path, out: Path, **options: object) -> pl.DataFrame:
    embed_series.run(embed_series.prepare(table=table, out=out, options=NAMED, device="cpu"), **options)
    return pl.read_parquet(out)


def scores(table: Path, out: Path, what: str, **options: object) -> pl.DataFrame:
    job = surprise_series.prepare(table=table, out=out, options=NAMED, device="cpu", **options)
    surprise_series.run(job, what=what)
    return pl.read_csv(out)


def of(frame: pl.DataFrame, name: str, column: str = "vector") -> np.ndarray:
    return frame.filter(pl.col("unique_id") == name)[column].to_numpy()


def test_windows() -> None:
    assert window_rows(10, window=6, stride=3).tolist() == [[0, 6], [3, 9], [6, 10]]
    assert window_rows(5, window=6, stride=3).tolist() == [[0, 5]]
    assert window_rows(12, window=6, stride=None).tolist() == [[0, 6], [6, 12]]
    assert window_rows(7, window=None, stride=None).tolist() == [[0, 7]]


def test_a_series_is_read_as_if_alone_and_a_window_knows_nothing_later(tmp_path: Path) -> None:
    together = write_table(tmp_path / "all.csv", {"b": 90, "a": 75, "c": 5}, without=(20, 21))
    found = vectors(together, tmp_path / "all.parquet", window=24, stride=12)
    assert found["unique_id"].to_list() == ["b"] * 7 + ["a"] * 6 + ["c"]
    assert found["start"][1] == (START + np.timedelta64(12, "h")).astype(object)
    assert found["end"][6] == (START + np.timedelta64(89, "h")).astype(object)
    alone = vectors(write_table(tmp_path / "b.csv", {"b": 90}), tmp_path / "b.parquet", window=24, stride=12)
    np.testing.assert_array_equal(of(found, "b"), of(alone, "b"))
    shorter = vectors(write_table(tmp_path / "s.csv", {"b": 60}), tmp_path / "s.parquet", window=24, stride=12)
    np.testing.assert_allclose(of(shorter, "b"), of(found, "b")[: len(shorter)], atol=1e-5)
    assert not np.allclose(of(found, "b")[0], of(found, "b")[1], atol=1e-3)
    whole = vectors(together, tmp_path / "whole.parquet", pool="max")
    assert whole["unique_id"].to_list() == ["b", "a", "c"]
    assert whole["vector"].dtype == pl.Array(pl.Float32, 32)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_scores_of_rows_are_causal_and_missing_rows_have_none(tmp_path: Path, what: str) -> None:
    table = write_table(tmp_path / "t.csv", {"a": 90, "b": 90}, without=(20, 21))
    found = scores(table, tmp_path / "s.csv", what)
    assert found.columns == ["unique_id", "ds", "y", what]
    assert found.filter(pl.col("y").is_null())["ds"].to_list() == ["2024-01-01 20:00:00", "2024-01-01 21:00:00"]
    assert found.filter(pl.col("y").is_null())[what].null_count() == 2
    assert found[what].null_count() == (4 if what == "loss" else 2)
    early = scores(write_table(tmp_path / "e.csv", {"a": 60}), tmp_path / "e.csv.csv", what)
    np.testing.assert_allclose(of(early, "a", what), of(found, "a", what)[:60], rtol=1e-4, atol=1e-5)
    if what == "loss":
        assert of(found, "a", what)[1:].argmax() == STEP - 1


def test_trained_and_kept_then_read_again(tmp_path: Path) -> None:
    table, model = write_table(tmp_path / "t.csv", {"a": 90, "b": 40}), tmp_path / "m.safetensors"
    first = scores(table, tmp_path / "1.csv", "loss", train=2, model=model)
    again = scores(table, tmp_path / "2.csv", "loss", model=model)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    drawn = scores(table, tmp_path / "3.csv", "loss")
    assert not np.allclose(of(first, "a", "loss")[1:], of(drawn, "a", "loss")[1:], atol=1e-6)
    assert len(again) == 130


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "t.csv", {"a": 30, "b": 20})

    def call(*arguments: str | Path) -> str:
        found = CliRunner().invoke(group, [*map(str, arguments)], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output

    assert "2 vectors of 32, 50 rows read" in call("-q", "embed", table, "--id-col", "meter", "-o", tmp_path / "v.npy")
    assert np.load(tmp_path / "v.npy").shape == (2, 32)
    assert (tmp_path / "v.csv").read_text().splitlines()[1] == "a,2024-01-01 00:00:00,2024-01-02 05:00:00"
    assert "gradient of 50 of 50 rows" in call("-q", "surprise", table, "-o", tmp_path / "s.csv")

    def refused(*arguments: str | Path) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        assert ended.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    out = tmp_path / "x.csv"
    assert "--strand says nothing about a table of series" in refused("embed", table, "-o", out, "--strand", "-")
    assert "--id-col says nothing about a genome" in refused("embed", "g.fa", "-o", out, "--id-col", "a")
    assert "a genome needs --model" in refused("surprise", "g.fa", "-o", out)
    assert "a run has no encoder of series" in refused("embed", table, "-o", out, "--model", tmp_path)
    assert "name a new file by --model" in refused("embed", table, "-o", out, "--train", "5")
    assert "did you mean" in refused("surprise", table, "-o", out, "--what", "los")
    assert "--stride belongs to --window" in refused("embed", table, "-o", out, "--stride", "5")
    assert not out.exists()
