"""Shards of one contig that run one after the other: each goes on where the one before has come to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines import embed, surprise
from tests.pipelines.test_shards import ONE, genome
from tests.pipelines.untrained import write_model
from titans_seq.streaming.session import Session
from titans_seq.streaming.units import Pace

WHOLE = 1000  # bases of the contig; a call reads 64 of them


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "run", "table.megabytes=2")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], int]:
    """Give the bases that were read since it was last asked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    count, feed = [0], Session.feed

    def counted(self: Session, piece: Any, **options: Any) -> Any:
        count[0] += np.asarray(piece).size
        return feed(self, piece, **options)

    def since() -> int:
        found, count[0] = count[0], 0
        return found

    monkeypatch.setattr(Session, "feed", counted)
    monkeypatch.setattr(Pace, "of", classmethod(lambda cls, device: cls(call=64, least=32, rows=4, unit=2**18)))
    return since


@pytest.mark.parametrize(
    ("order", "options"),
    [
        ((1, 2, 3), {"window": 100}),
        ((1, 2, 3), {"window": 90, "stride": 40, "gap_reset": 20}),
        ((1, 2, 3), {"window": 100, "strand": "-"}),
    ],
)
def test_vectors_in_turn(
    model: Path, tmp_path: Path, read: Callable[[], int], order: tuple[int, ...], options: dict[str, Any]
) -> None:
    fasta, out = str(genome(tmp_path, ONE)), tmp_path / "v.parquet"

    def run(shard: str | None) -> int:
        embed.run([fasta], model=model, out=out, options=embed.EmbedOptions(threads=1, shard=shard, **options))
        return read()

    alone = run(None)
    in_turn = [run(f"{number}/3") for number in order]
    assert sum(in_turn) < alone + 3 * 200  # what windows share, and a call at each border, is read twice
    assert max(in_turn) < 0.7 * alone
    whole = pl.read_parquet(out)
    parts = pl.scan_parquet(tmp_path / "v.*-of-3.parquet").collect().sort("chrom", "start")
    assert np.array_equal(parts["vector"].to_numpy(), whole["vector"].to_numpy(), equal_nan=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file() and "v." in path.name) == [
        "v.1-of-3.parquet", "v.2-of-3.parquet", "v.3-of-3.parquet", "v.parquet",
    ]  # fmt: skip


def test_vectors_of_both_strands_take_what_is_there(model: Path, tmp_path: Path, read: Callable[[], int]) -> None:
    """The reverse strand comes from the other end: what shard 1 leaves of the forward one is taken, else nothing."""
    fasta, out = str(genome(tmp_path, ONE)), tmp_path / "v.npy"
    for shard in (None, "1/3", "2/3", "3/3"):
        embed.run(
            [fasta], model=model, out=out, options=embed.EmbedOptions(threads=1, shard=shard, window=100, strand="both")
        )
    parts = [np.load(tmp_path / f"v.{number}-of-3.npy") for number in (1, 2, 3)]
    assert np.array_equal(np.concatenate(parts), np.load(out), equal_nan=True)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(("order", "strand"), [((1, 2, 3), "+"), ((3, 2, 1), "-"), ((2, 3, 1), "+")])
def test_tracks_in_turn(
    model: Path, tmp_path: Path, read: Callable[[], int], order: tuple[int, ...], strand: str
) -> None:
    fasta, out = str(genome(tmp_path, ONE)), tmp_path / "t.bedgraph"

    def run(shard: str | None) -> int:
        surprise.run(
            surprise.prepare(
                genome=fasta, model=model, out=out, device="cpu", threads=1, shard=shard, size=10, strand=strand
            )
        )
        return read()

    alone = run(None)
    in_turn = [run(f"{number}/3") for number in order]
    if order != (2, 3, 1):
        assert sum(in_turn) < alone + 3 * 128
    parts = [(tmp_path / f"t.{number}-of-3.bedgraph").read_text() for number in (1, 2, 3)]
    assert "".join(parts) == out.read_text()
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_another_job_left_is_not_used(
    model: Path, tmp_path: Path, read: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    fasta, out = str(genome(tmp_path, ONE)), tmp_path / "v.npy"

    def run(shard: str, window: int) -> None:
        embed.run([fasta], model=model, out=out, options=embed.EmbedOptions(threads=1, shard=shard, window=window))

    run("1/2", 100)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["v.2-of-2.npy.unit-0.safetensors"]
    read()
    with caplog.at_level(logging.WARNING):
        run("2/2", 50)
    assert "another job" in caplog.text
    assert read() > 0.9 * WHOLE


def test_nothing_is_left_for_a_shard_that_has_begun(model: Path, tmp_path: Path, read: Callable[[], int]) -> None:
    fasta, out = str(genome(tmp_path, ONE)), tmp_path / "v.npy"
    for shard in ("2/2", "1/2"):
        embed.run([fasta], model=model, out=out, options=embed.EmbedOptions(threads=1, shard=shard, window=100))
    assert not list(tmp_path.glob("*.safetensors"))
