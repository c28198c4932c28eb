"""What X may be, what the options do, training, and the file that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from tests.pipelines.untrained import write_model
from titans_seq import TitansEmbedder
from titans_seq.errors import ConfigError, InputFileError, RangeError, ShapeError, TitansError
from titans_seq.genomics import decode, reverse_complement
from titans_seq.genomics.alphabet import encode
from titans_seq.streaming import Session, open_dna_model

TINY = {"d_model": 16, "n_layers": 1, "batch_size": 4}
SEQUENCES = ["ACGTTGCAACGGTACCATGCATTTACG", "ttgacannnnAACC", "G"]


@pytest.fixture
def fasta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, str]:
    """A FASTA of one contig, a BED of three regions of it, and the contig."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = "".join(np.random.default_rng(8).choice(list("ACGT"), 300))
    (tmp_path / "g.fa").write_text(f">c1 first\n{text}\n")
    (tmp_path / "r.bed").write_text("c1\t10\t60\nc1\t100\t170\tx\t0\t-\nc1\t0\t40\n")
    return tmp_path / "g.fa", tmp_path / "r.bed", text


def test_strings_arrays_columns_and_records_are_the_same() -> None:
    fitted = TitansEmbedder(**TINY).fit(SEQUENCES)
    wanted = fitted.transform(SEQUENCES)
    assert wanted.shape == (3, 16)
    assert np.isfinite(wanted).all()
    for same in (
        np.array(SEQUENCES),
        pl.Series(SEQUENCES),
        [SeqRecord(Seq(text)) for text in SEQUENCES],
        tuple(SEQUENCES),
    ):
        np.testing.assert_array_equal(fitted.transform(same), wanted)


def test_regions_by_every_door(fasta: tuple[Path, Path, str]) -> None:
    genome, bed, text = fasta
    cut = [text[10:60], decode(reverse_complement(encode(text[100:170]))), text[:40]]
    wanted = TitansEmbedder(**TINY).fit_transform(cut)
    rows: list[tuple[Any, ...]] = [("c1", 10, 60), ("c1", 100, 170, "-"), ("c1", 0, 40, "+")]
    frame = pl.DataFrame({"chrom": ["c1"] * 3, "start": [10, 100, 0], "end": [60, 170, 40], "strand": ["+", "-", "."]})
    np.testing.assert_array_equal(TitansEmbedder(**TINY, regions=bed).fit_transform(str(genome)), wanted)
    for X in (bed, rows, frame):
        np.testing.assert_array_equal(TitansEmbedder(**TINY, genome=genome).fit_transform(X), wanted)
    np.testing.assert_array_equal(
        TitansEmbedder(**TINY).fit_transform(genome), TitansEmbedder(**TINY).fit_transform([text])
    )


def test_context_is_read_before_and_not_pooled(fasta: tuple[Path, Path, str]) -> None:
    genome, _, text = fasta
    embedder = TitansEmbedder(**TINY, genome=genome, context=30).fit([("c1", 50, 60, "+")])
    session = Session(embedder.task_)
    seen = session.feed(text[20:60]).vectors
    np.testing.assert_allclose(embedder.transform([("c1", 50, 60, "+")])[0], seen[0, 30:].mean(0), atol=1e-5)
    turned = decode(reverse_complement(encode(text[50:90])))
    seen = Session(embedder.task_).feed(turned).vectors
    np.testing.assert_allclose(embedder.transform([("c1", 50, 60, "-")])[0], seen[0, 30:].mean(0), atol=1e-5)
    both = embedder.set_params(strand="both").transform([("c1", 50, 60, "+")])
    np.testing.assert_array_equal(embedder.transform([("c1", 50, 60, "-")]), both)


def test_a_trained_run_is_what_reads(tmp_path: Path) -> None:
    run = write_model(tmp_path / "run")
    found = TitansEmbedder(model=run, pool="last", layer=1).fit_transform(SEQUENCES)
    seen = Session(open_dna_model(run), layer=1).feed(SEQUENCES[0]).vectors
    np.testing.assert_allclose(found[0], seen[0, -1], atol=1e-5)
    with pytest.raises(ConfigError, match="give one of them"):
        TitansEmbedder(model=run, steps=1).fit(SEQUENCES)
    with pytest.raises(ShapeError, match="model reads bases"):
        TitansEmbedder(model=run).fit(np.ones((3, 4)))
    with pytest.raises(InputFileError, match="expected a run folder"):
        TitansEmbedder(model=tmp_path / "none").fit(SEQUENCES)


def test_series_tables_channels_and_patches() -> None:
    values = np.random.default_rng(3).normal(size=(5, 23))
    made = TitansEmbedder(**TINY, patch=4, scale="series")
    wanted = made.fit_transform(values)
    np.testing.assert_array_equal(made.fit_transform(list(values)), wanted)
    np.testing.assert_array_equal(made.fit_transform(values[:, :, None]), wanted)
    order = np.random.default_rng(1).permutation(5 * 23)
    # Rows of the table in any order; series come in order of first appearance.
    table = pl.DataFrame(
        {"unique_id": np.repeat(list("edcba"), 23), "ds": np.tile(np.arange(23), 5), "y": values.ravel()}
    )
    shuffled = table[order]
    names = shuffled["unique_id"].unique(maintain_order=True).to_list()
    np.testing.assert_array_equal(made.fit_transform(shuffled), wanted[["edcba".index(name) for name in names]])
    many = np.random.default_rng(3).normal(size=(5, 23, 3))
    assert TitansEmbedder(**TINY).fit_transform(many).shape == (5, 16)
    with pytest.raises(ShapeError, match="expected 3 channels, found 2"):
        TitansEmbedder(**TINY).fit(many).transform([many[0, :9, :2], many[1, :, :2]])


def test_scales() -> None:
    values = np.random.default_rng(3).normal(size=(6, 20))
    own = TitansEmbedder(**TINY, scale="series").fit(values)
    np.testing.assert_allclose(own.transform(values * 50 + 7), own.transform(values), atol=1e-4)
    fitted = TitansEmbedder(**TINY).fit(values)
    assert not np.allclose(fitted.transform(values + 1), fitted.transform(values), atol=1e-2)
    np.testing.assert_allclose(
        TitansEmbedder(**TINY).fit(values * 50 + 7).transform(values * 50 + 7), fitted.transform(values), atol=1e-4
    )


@pytest.mark.parametrize("kind", ["sequences", "series"])
def test_training_moves_the_weights_and_nothing_else(kind: str) -> None:
    random = np.random.default_rng(5)
    X = ["ACGT" * 40, "AACCGGTT" * 30] if kind == "sequences" else np.sin(np.arange(60) + random.normal(size=(4, 1)))
    torch.manual_seed(11)
    before = torch.get_rng_state()
    plain, trained = TitansEmbedder(**TINY).fit(X), TitansEmbedder(**TINY, steps=4).fit(X)
    assert torch.equal(torch.get_rng_state(), before)
    after = trained.task_.state_dict()
    changed = [name for name, one in plain.task_.state_dict().items() if not torch.equal(one, after[name])]
    assert "head.weight" in changed
    assert trained.transform(X).shape == (len(X), 16)


def test_training_lowers_the_error_of_series() -> None:
    from titans_seq.estimators.series import SeriesStreams

    X = np.sin(np.arange(48) * 0.5 + np.random.default_rng(5).uniform(0, 6, (12, 1)))

    def error(steps: int) -> float:
        fitted = TitansEmbedder(**TINY, steps=steps).fit(X)
        tokens = fitted._tokens([row[:, None] for row in X])
        segment = next(SeriesStreams(tokens, rows=12, length=48, seed=0))
        with torch.no_grad():
            cost = fitted.task_.cost(segment, state=None, device=torch.device("cpu"))
        return float(cost.total) / cost.targets

    assert error(100) < 0.5 * error(0)


@pytest.mark.parametrize("kind", ["sequences", "series", "run"])
def test_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    X: Any = np.random.default_rng(3).normal(3, 2, size=(5, 20)) if kind == "series" else SEQUENCES
    options = {"model": write_model(tmp_path / "run")} if kind == "run" else {**TINY, "steps": 2}
    fitted = TitansEmbedder(**options, pool="max").fit(X)
    fitted.save(tmp_path / "e.safetensors")
    again = TitansEmbedder.load(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    assert getattr(again, "n_features_in_", None) == getattr(fitted, "n_features_in_", None)
    if kind != "series":
        assert torch.equal(open_dna_model(tmp_path / "e.safetensors").task.head.weight, fitted.task_.head.weight)
    (tmp_path / "x").write_text("hello")
    with pytest.raises(InputFileError, match="safetensors"):
        TitansEmbedder.load(tmp_path / "x")
    with pytest.raises(InputFileError, match=r"TitansEmbedder\.save"):
        TitansEmbedder.load(write_model(tmp_path / "other") / "model.safetensors")


@pytest.mark.parametrize(
    ("options", "X", "words"),
    [
        ({"pool": "median"}, SEQUENCES, "unknown pool 'median'"),
        ({"strand": "?"}, SEQUENCES, "unknown strand"),
        ({"memory": "titan_lmm"}, SEQUENCES, "did you mean 'titans_lmm'"),
        ({"scale": "max"}, np.ones((3, 4)), "unknown scale 'max'"),
        ({"layer": 7}, SEQUENCES, "expected a layer from 0 to 1"),
        ({"patch": 0}, np.ones((3, 4)), "patch: expected a whole number from 1 on, found 0"),
        ({"steps": 1.5}, SEQUENCES, "steps: expected a whole number"),
        ({}, ["ACGT", "AC-T"], "row 1: position 2: expected A, C, G, T"),
        ({}, ["ACGT", ""], "row 1: expected a sequence, found an empty one"),
        ({}, [("c1", 0, 5)], "genome must be the path"),
        ({}, [np.ones(3), np.array([1.0, np.inf])], "series 1: holds infinity"),
        ({}, [np.ones(3), np.ones(0)], "series 1: expected time steps x channels"),
        ({}, pl.DataFrame({"chrom": ["c1"], "start": [0]}), "columns chrom, start, end; found none named end"),
        ({}, pl.DataFrame({"unique_id": ["a"], "value": [0.5]}), "unique_id, ds, y; found none named ds, y"),
        ({}, "nowhere.fa", "nowhere.fa: no such file"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(options: dict[str, Any], X: Any, words: str) -> None:
    with pytest.raises(TitansError) as caught:
        TitansEmbedder(**{**TINY, **options}).fit_transform(X)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_kinds_after_the_fit_and_regions_beyond(fasta: tuple[Path, Path, str]) -> None:
    genome, bed, _ = fasta
    with pytest.raises(ShapeError, match="fitted on dna, but X is series"):
        TitansEmbedder(**TINY).fit(SEQUENCES).transform(np.ones((2, 3)))
    embedder = TitansEmbedder(**TINY, genome=genome)
    with pytest.raises(RangeError, match="asked for 290 to 301"):
        embedder.fit([("c1", 290, 301, "-")])
    with pytest.raises(TitansError, match="no contig 'c2'"):
        embedder.fit([("c2", 0, 5)])
    bed.write_text("c1\t0\t9\nc1\t0\t301\n")
    with pytest.raises(InputFileError, match="line 2"):
        embedder.fit(bed)
