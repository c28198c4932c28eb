"""Tracks: means in bins whatever the order, files that other programs read, nothing half-written."""

from __future__ import annotations

import builtins
import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from titans_seq.errors import ConfigError, OutputError, RangeError
from titans_seq.genomics import tracks
from titans_seq.genomics.tracks import BinMeans, TrackError, check_track, write_track

SIZES = {"chr2": 103, "chr10": 7, "blank": 20, "chr1": 40}


def binned(size: int) -> Iterator[tuple[str, np.ndarray]]:
    random = np.random.default_rng(size)
    for name, length in SIZES.items():
        values = random.normal(size=-(-length // size)).astype(np.float32)
        values[:: 3 if name != "blank" else 1] = np.nan
        yield name, values


def expected(size: int) -> list[tuple[str, int, int, float]]:
    return [
        (name, at * size, min(at * size + size, SIZES[name]), float(value))
        for name, values in binned(size)
        for at, value in enumerate(values)
        if not np.isnan(value)
    ]


def test_the_example_of_the_docstring() -> None:
    means = BinMeans(5, size=2)
    means.add(0, np.array([1, 3, np.nan, 4]))
    means.add(4, np.array([8.0]))
    assert means.means().tolist() == [2, 4, 8]


@pytest.mark.parametrize("size", [1, 3, 32, 1000])
def test_means_do_not_depend_on_order_or_cuts(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=500).astype(np.float32)
    values[40:160] = np.nan
    # Sums of small integers are exact, so that any order gives the same bits.
    values = np.round(values * 4)
    whole, parts = BinMeans(500, size=size), None
    whole.add(0, values)
    monkeypatch.setattr(tracks, "_ON_DISK", 1)
    parts = BinMeans(500, size=size)
    cuts = [0, 1, 2, 33, 250, 499, 500]
    for at in random.permutation(len(cuts) - 1):
        parts.add(cuts[at], values[cuts[at] : cuts[at + 1]])
    np.testing.assert_array_equal(parts.means(), whole.means())
    by_hand = [values[at : at + size] for at in range(0, 500, size)]
    wanted = [part[~np.isnan(part)].mean() if (~np.isnan(part)).any() else np.nan for part in by_hand]
    np.testing.assert_allclose(whole.means(), wanted, rtol=1e-6)


def test_bases_outside_the_contig_are_refused() -> None:
    for start, count in ((-1, 2), (4, 2), (6, 0)):
        with pytest.raises(RangeError, match=r"within 0 \.\. 5"):
            BinMeans(5, size=2).add(start, np.zeros(count))
    with pytest.raises(RangeError, match="at least one base"):
        BinMeans(5, size=0)


@pytest.mark.parametrize("size", [1, 8, 32])
@pytest.mark.parametrize("name", ["t.bw", "t.bigWig"])
def test_bigwig_read_by_another_program(tmp_path: Path, size: int, name: str) -> None:
    pytest.importorskip("pybigtools")
    reader = pytest.importorskip("pyBigWig")
    assert write_track(tmp_path / name, SIZES, binned(size), size=size) == len(expected(size))
    file = reader.open(str(tmp_path / name))
    assert file.isBigWig()
    found = [(c, *row) for c in SIZES if c in file.chroms() for row in file.intervals(c) or ()]
    assert found == expected(size)
    assert all(file.chroms()[c] == SIZES[c] for c in file.chroms())
    file.close()
    again = tmp_path / "again.bw"
    write_track(again, SIZES, binned(size), size=size)
    assert again.read_bytes() == (tmp_path / name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {name, "again.bw"}


@pytest.mark.parametrize("name", ["t.bedgraph", "t.bg", "t.bdg.gz"])
def test_bedgraph_read_by_another_program(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert write_track(path, SIZES, binned(8), size=8) == len(expected(8))
    frame = pl.read_csv(path, separator="\t", has_header=False)
    wanted = expected(8)
    assert [row[:3] for row in frame.rows()] == [row[:3] for row in wanted]
    np.testing.assert_allclose(frame.to_series(3).to_numpy(), [row[3] for row in wanted], rtol=1e-5)
    text = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    assert text.startswith(b"chr2\t8\t16\t")
    write_track(tmp_path / f"again-{name}", SIZES, binned(8), size=8)
    assert (tmp_path / f"again-{name}").read_bytes() == path.read_bytes()


def broken() -> Iterator[tuple[str, np.ndarray]]:
    yield "chr2", np.ones(13, dtype=np.float32)
    raise MemoryError("on the way")


@pytest.mark.parametrize("name", ["t.bw", "t.bedgraph.gz"])
def test_an_error_on_the_way_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pybigtools")
    path = tmp_path / name
    path.write_text("before")
    with pytest.raises(MemoryError, match="on the way"):
        write_track(path, SIZES, broken(), size=8)
    with pytest.raises(TrackError, match="no base has a number"):
        write_track(path, SIZES, [("blank", np.full(3, np.nan, dtype=np.float32))], size=8)
    with pytest.raises(RangeError, match="expected 13 bins of 8 bases, found 2"):
        write_track(path, SIZES, [("chr2", np.ones(2, dtype=np.float32))], size=8)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_writer_lost_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pybigtools")

    class Losing:
        def open(self, path: str, mode: str = "r") -> Any:
            return self

        def write(self, sizes: dict[str, int], rows: Iterator[Any]) -> None:
            list(rows)

    monkeypatch.setattr(tracks, "_pybigtools", Losing)
    with pytest.raises(TrackError, match=r"0 of \d+ bases were written; is the disk full"):
        write_track(tmp_path / "t.bw", SIZES, binned(8), size=8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_bigwig_ends_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """At its beginning, on its way, and before the coarser copies are added at its end: the library would panic."""
    pytest.importorskip("pybigtools")
    usage, looks = shutil.disk_usage, []

    def nearly_full(folder: Path) -> object:
        looks.append(folder)
        return usage(folder)._replace(free=10**9 if len(looks) <= left else 1000)

    monkeypatch.setattr(tracks, "_ROOM_EVERY", 3)
    monkeypatch.setattr(tracks.shutil, "disk_usage", nearly_full)
    path = tmp_path / "t.bw"
    with pytest.raises(OutputError, match=r"t\.bw: the disk is full; free some space"):
        write_track(path, {"c": 40}, [("c", np.arange(5, dtype=np.float32))], size=8)
    assert list(tmp_path.iterdir()) == []


def test_paths_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"end in one of \.bw, \.bigwig, \.bedgraph"):
        check_track(tmp_path / "t.wig")
    with pytest.raises(OutputError, match="no such folder"):
        check_track(tmp_path / "nothing" / "t.bg")
    (tmp_path / "t.bg").mkdir()
    with pytest.raises(OutputError, match="a folder"):
        check_track(tmp_path / "t.bg")
    original = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pybigtools":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r'pip install "titans-seq\[tracks\]"'):
        check_track(tmp_path / "t.bw")
    check_track(tmp_path / "t.bedgraph")
