"""Shards of one job, put together, are what one process writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from titans_seq.pipelines import embed, surprise

from tests.pipelines.untrained import write_model
from titans_seq.errors import ConfigError


@pytest.fixture
def three_contigs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    random = np.random.default_rng(1)
    path = tmp_path / "three.fa"
    sizes = {"a": 700, "b": 300, "c": 500}
    path.write_text("".join(f">{name}\n{''.join(random.choice(list('ACGT'), size))}\n" for name, size in sizes.items()))
    return path


def test_vectors(three_contigs: Path, tmp_path: Path) -> None:
    model, out = write_model(tmp_path / "run"), tmp_path / "v.parquet"

    def options(shard: str | None) -> embed.EmbedOptions:
        return embed.EmbedOptions(window=100, threads=1, shard=shard)

    embed.run([str(three_contigs)], model=model, out=out, options=options(None))
    for shard in ("1/2", "2/2"):
        embed.run([str(three_contigs)], model=model, out=out, options=options(shard))
    whole = pl.read_parquet(out)
    parts = pl.scan_parquet(tmp_path / "v.*-of-2.parquet").collect().sort("chrom", "start")
    assert parts.drop("vector").equals(whole.drop("vector"))
    assert np.array_equal(parts["vector"].to_numpy(), whole["vector"].to_numpy())
    with pytest.raises(ConfigError, match="no more shards than contigs"):
        embed.run([str(three_contigs)], model=model, out=out, options=options("1/4"))


def test_tracks(three_contigs: Path, tmp_path: Path) -> None:
    model, out = write_model(tmp_path / "run"), tmp_path / "t.bedgraph"
    for shard in (None, "1/3", "2/3", "3/3"):
        job = surprise.prepare(
            genome=str(three_contigs), model=model, out=out, size=50, device="cpu", threads=1, shard=shard
        )
        surprise.run(job)
    parts = sorted(tmp_path.glob("t.*-of-3.bedgraph"), key=lambda path: path.read_text())
    assert "".join(path.read_text() for path in parts) == out.read_text()
