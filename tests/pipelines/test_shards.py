"""Shards of one job, put together, are what one process writes: the same bits, whatever was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines import embed, surprise
from tests.pipelines.untrained import write_model
from titans_seq.errors import ConfigError
from titans_seq.streaming import track_reading
from titans_seq.streaming.units import Pace


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "run", "table.megabytes=0")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Calls, units and groups so small that these genomes take several of them."""
    monkeypatch.setattr(Pace, "of", classmethod(lambda cls, device: Pace(call=128, least=256, rows=4, unit=700)))
    monkeypatch.setattr(track_reading, "GROUP", 256)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def genome(folder: Path, sizes: dict[str, int]) -> Path:
    random = np.random.default_rng(1)
    path = folder / "genome.fa"
    contigs = {name: random.choice(list("ACGT"), size) for name, size in sizes.items()}
    contigs["a"][90:130] = "N"
    path.write_text("".join(f">{name}\n{''.join(letters)}\n" for name, letters in contigs.items()))
    return path


ONE, THREE = {"a": 1000}, {"a": 700, "b": 300, "c": 500}


@pytest.mark.parametrize(
    ("sizes", "count", "options"),
    [
        (ONE, 3, {"window": 100}),
        (ONE, 2, {"window": 100, "stride": 50, "strand": "-"}),
        (ONE, 2, {"window": 100, "strand": "both", "gap_reset": 20}),
        (ONE, 3, {"window": 100, "context": "150"}),
        (ONE, 3, {"window": 60, "context": "150", "strand": "both"}),
        (ONE, 3, {"window": 100, "context": "0"}),
        (THREE, 2, {"window": 100}),
        (THREE, 5, {"window": 100}),
    ],
)
def test_vectors(model: Path, tmp_path: Path, sizes: dict[str, int], count: int, options: dict[str, Any]) -> None:
    fasta, out = genome(tmp_path, sizes), tmp_path / "v.parquet"
    read = []
    for number in range(count + 1):
        shard = f"{number}/{count}" if number else None
        done = embed.run(
            [str(fasta)], model=model, out=out, options=embed.EmbedOptions(threads=1, shard=shard, **options)
        )
        read.append(done["bases"])
    whole = pl.read_parquet(out)
    parts = pl.scan_parquet(tmp_path / f"v.*-of-{count}.parquet").collect().sort("chrom", "start")
    assert parts.drop("vector").equals(whole.drop("vector"))
    assert np.array_equal(parts["vector"].to_numpy(), whole["vector"].to_numpy(), equal_nan=True)
    if "context" in options and options.get("strand") is None:
        assert max(read[1:]) < read[0]  # stretches of one contig, each read by one shard
    assert not list(tmp_path.glob("*.work"))


def test_more_shards_than_regions(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected fewer shards"):
        embed.run(
            [str(genome(tmp_path, ONE))],
            model=model,
            out=tmp_path / "v.npy",
            options=embed.EmbedOptions(per_sequence=True, shard="2/2"),
        )


@pytest.mark.parametrize(
    ("sizes", "count", "options"),
    [
        (ONE, 3, {"size": 50}),
        (ONE, 2, {"size": 32, "strand": "both", "gap_reset": 20}),
        (ONE, 3, {"size": 16, "context": "24", "strand": "both"}),
        (ONE, 2, {"size": 16, "what": "gain", "gap_reset": 20}),
        (THREE, 3, {"size": 50}),
        (THREE, 5, {"size": 7, "strand": "-"}),
    ],
)
def test_tracks(model: Path, tmp_path: Path, sizes: dict[str, int], count: int, options: dict[str, Any]) -> None:
    fasta, out = str(genome(tmp_path, sizes)), tmp_path / "t.bedgraph"
    for number in range(count + 1):
        shard = f"{number}/{count}" if number else None
        job = surprise.prepare(genome=fasta, model=model, out=out, device="cpu", threads=1, shard=shard, **options)
        surprise.run(job)
    parts = [path.read_text().splitlines() for path in tmp_path.glob(f"t.*-of-{count}.bedgraph")]
    assert len(parts) == count
    rows = sorted((line for part in parts for line in part), key=lambda line: (line[0], int(line.split("\t")[1])))
    assert rows == out.read_text().splitlines()
    assert not list(tmp_path.glob(".*parts*"))


def test_a_context_of_blocks_is_the_same_in_groups_of_any_size(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta = str(genome(tmp_path, ONE))
    for name, group in (("a", 256), ("b", 10**6)):
        monkeypatch.setattr(track_reading, "GROUP", group)
        out = tmp_path / f"{name}.bg"
        surprise.run(surprise.prepare(genome=fasta, model=model, out=out, size=16, context="24", strand="both"))
    found = [[line.split("\t") for line in (tmp_path / f"{name}.bg").read_text().splitlines()] for name in "ab"]
    assert [row[:3] for row in found[0]] == [row[:3] for row in found[1]]
    assert [float(row[3]) for row in found[0]] == pytest.approx([float(row[3]) for row in found[1]], abs=1e-5)
