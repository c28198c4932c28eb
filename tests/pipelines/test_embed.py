"""The embed pipeline: vectors that follow from coordinates and context alone, whoever computes them and when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines import embed as pipeline
from pipelines.embed import EmbedOptions
from tests.streaming.conftest import make_model
from titans_seq.errors import InputFileError
from titans_seq.genomics import Genome, decode, open_genome, reverse_complement
from titans_seq.streaming import Session, embedding, open_dna_model, units
from titans_seq.streaming.units import Pace
from titans_seq.streaming.work_folder import WorkFolder

LENGTHS = {"one": 700, "two": 260, "gappy": 300, "short": 20, "blank": 30}
Embed = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_model(folder)
    return folder


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random, folder = np.random.default_rng(11), tmp_path_factory.mktemp("genome")
    contigs = {name: random.integers(0, 4, length).astype(np.uint8) for name, length in LENGTHS.items()}
    contigs["gappy"][100:160] = 4
    contigs["one"][333] = 4
    contigs["blank"][:] = 4
    path = folder / "made.fa"
    path.write_text("".join(f">{name}\n{decode(tokens)}\n" for name, tokens in contigs.items()))
    return path


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Calls and units so small that these genomes take many of them."""
    monkeypatch.setattr(units.Pace, "of", classmethod(lambda cls, device: Pace(call=128, least=256, rows=4, unit=400)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def genome(fasta: Path, tmp_path: Path) -> Genome:
    return open_genome(fasta, cache_dir=tmp_path / "cache")


@pytest.fixture
def vectors(run: Path, fasta: Path, tmp_path: Path) -> Embed:
    """Embed with some options; gives the vectors."""

    def compute(**options: object) -> np.ndarray:
        out = tmp_path / "found.npy"
        pipeline.run([str(fasta)], model=run, out=out, options=EmbedOptions(gap_reset=50, threads=1, **options))
        assert not out.with_name("found.npy.work").exists()
        return np.load(out)

    return compute


def alone(run: Path, tokens: np.ndarray, start: int, end: int, layer: int = -1) -> np.ndarray:
    """Mean of the vectors of known bases ``start .. end`` of a stream that is read from its beginning."""
    readings = Session(open_dna_model(run), layer=layer).feed(tokens)
    assert readings.vectors is not None
    at = [t for t in range(start, end) if tokens[t] < 4]
    return readings.vectors[0, at].numpy().astype(np.float64).mean(0)


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_windows_know_all_that_came_before(vectors: Embed, run: Path, genome: Genome) -> None:
    found = vectors(window=100, stride=40, layer=1)
    tokens = genome.tokens("one")
    assert len(found) == 16 + 5 + 6 + 1 + 1
    for number in (0, 1, 9, 15):
        close(found[number], alone(run, tokens, 40 * number, min(40 * number + 100, 700), layer=1))
    assert np.isnan(found[-1]).all()
    assert np.isfinite(found[:-1]).all()


def test_a_long_gap_is_not_read(vectors: Embed, run: Path, genome: Genome) -> None:
    (found,) = vectors(per_sequence=True, chroms=("gappy",))
    tokens = genome.tokens("gappy")
    wanted = (100 * alone(run, tokens[:100], 0, 100) + 140 * alone(run, tokens[160:], 0, 140)) / 240
    close(found, wanted)


def test_strands(vectors: Embed, run: Path, genome: Genome, tmp_path: Path) -> None:
    tokens = genome.tokens("two")
    forward, reverse = (vectors(window=60, strand=strand, chroms=("two",)) for strand in "+-")
    close(forward[1], alone(run, tokens, 60, 120))
    close(reverse[1], alone(run, reverse_complement(tokens), 140, 200))
    close(vectors(window=60, strand="both", chroms=("two",)), (forward + reverse) / 2)
    largest = [vectors(window=60, strand=s, chroms=("two",), pool="max") for s in ("+", "-", "both")]
    close(largest[2], np.maximum(largest[0], largest[1]))
    bed = tmp_path / "own.bed"
    bed.write_text("two\t60\t120\ta\t0\t-\ntwo\t0\t60\tb\t0\t+\n")
    close(vectors(regions=bed, strand="region"), np.stack([reverse[1], forward[0]]))


@pytest.mark.parametrize(("context", "begin"), [("0", 300), ("100", 200), ("120", 120), ("699", 0), ("contig", 0)])
def test_context_is_what_is_read_before(
    vectors: Embed, run: Path, genome: Genome, tmp_path: Path, context: str, begin: int
) -> None:
    """A region from 300 lies in block 3 of 100, and in block 2 of 120: its passage begins a block earlier."""
    bed = tmp_path / "x.bed"
    bed.write_text("one\t300\t350\n")
    (found,) = vectors(regions=bed, context=context)
    close(found, alone(run, genome.tokens("one", begin, 350), 300 - begin, 350 - begin))
    bed.write_text("one\t10\t690\none\t300\t350\none\t299\t305\ntwo\t3\t9\n")
    close(vectors(regions=bed, context=context)[1], found)


def test_reverse_context_is_counted_from_the_contigs_end(
    vectors: Embed, run: Path, genome: Genome, tmp_path: Path
) -> None:
    bed = tmp_path / "x.bed"
    bed.write_text("one\t350\t400\n")
    (found,) = vectors(regions=bed, context="100", strand="-")
    read = reverse_complement(genome.tokens("one"))[200:350]
    close(found, alone(run, read, 100, 150))


def test_threads_and_units_change_nothing(run: Path, fasta: Path, tmp_path: Path) -> None:
    outs = []
    for threads in (1, 3):
        out = tmp_path / f"t{threads}.parquet"
        options = EmbedOptions(window=64, stride=32, strand="both", threads=threads, gap_reset=50)
        pipeline.run([str(fasta)], model=run, out=out, options=options)
        outs.append(out.read_bytes())
    assert outs[0] == outs[1]


def test_threads_that_share_one_contig_change_nothing(run: Path, fasta: Path, tmp_path: Path) -> None:
    """One unit of work: two threads divide the memory's heads, three the blocks."""
    bed = tmp_path / "one.bed"
    bed.write_text("one\t350\t400\n")
    outs = []
    for threads in (1, 2, 3):
        out = tmp_path / f"t{threads}.parquet"
        options = EmbedOptions(regions=bed, threads=threads, gap_reset=50)
        pipeline.run([str(fasta)], model=run, out=out, options=options)
        outs.append(out.read_bytes())
    assert outs[0] == outs[1] == outs[2]


class KilledError(Exception):
    pass


@pytest.mark.parametrize(("strand", "after"), [("+", 1), ("+", 9), ("both", 3), ("both", 22)])
def test_killed_and_run_again_is_byte_for_byte_the_same(
    run: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strand: str, after: int
) -> None:
    """Killed in some step, with a checkpoint after every one: what was read is not read again."""
    options = EmbedOptions(window=100, stride=30, strand=strand, pool="attention", threads=1, gap_reset=50)
    whole, out = tmp_path / "whole.npy", tmp_path / "out.npy"
    steps, reader = [0, -1], embedding.PassageReader

    class Counted(reader):  # type: ignore[valid-type, misc]
        def step(self):
            steps[0] += 1
            if steps[0] == steps[1]:
                raise KilledError
            return super().step()

    monkeypatch.setattr(embedding, "PassageReader", Counted)
    pipeline.run([str(fasta)], model=run, out=whole, options=options)
    undisturbed, steps[:] = steps[0], [0, after]
    monkeypatch.setattr(embedding, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KilledError):
        pipeline.run([str(fasta)], model=run, out=out, options=options)
    assert not out.exists()
    assert out.with_name("out.npy.work").is_dir()
    steps[:] = [0, -1]
    pipeline.run([str(fasta)], model=run, out=out, options=options)
    assert steps[0] == undisturbed - (after - 1)
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out.npy", "out.tsv", "whole.npy", "whole.tsv"]


def test_an_error_in_one_thread_stops_the_others(
    run: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = WorkFolder.put

    def full(self: WorkFolder, slot: int, region: int, vector: np.ndarray) -> None:
        if region == 12:
            raise OSError(28, "No space left on device")
        put(self, slot, region, vector)

    out, options = tmp_path / "out.npy", EmbedOptions(window=100, strand="both", threads=2, gap_reset=50)
    with monkeypatch.context() as patch:
        patch.setattr(WorkFolder, "put", full)
        with pytest.raises(OSError, match="No space left"):
            pipeline.run([str(fasta)], model=run, out=out, options=options)
    assert not out.exists()
    pipeline.run([str(fasta)], model=run, out=out, options=options)
    assert np.load(out).shape == (15, 16)


def test_a_work_folder_of_another_job_is_not_gone_on_with(
    run: Path, fasta: Path, tmp_path: Path, vectors: Embed, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = vectors(window=100)
    work = tmp_path / "found.npy.work"
    work.mkdir()
    (work / "job.json").write_text('{"pool": "other"}')
    (work / "done").write_text("0\n1\n2\n3\n")
    np.testing.assert_array_equal(vectors(window=100), wanted)


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path, vectors: Embed) -> None:
    job = tmp_path / "found.npy.work"
    job.mkdir()
    (job / "mine.txt").write_text("1")
    with pytest.raises(InputFileError, match="is in the way: not a folder of ours"):
        vectors(window=100)
    assert (job / "mine.txt").read_text() == "1"


def test_half_a_line_of_done_units_is_not_believed(tmp_path: Path) -> None:
    def opened() -> WorkFolder:
        return WorkFolder(tmp_path / "x.npy", job={"a": 1}, slots=1, regions=2, width=3)

    work = opened()
    work.finish(12)
    with (work.path / "done").open("a") as file:
        file.write("34")
    work.close()
    again = opened()
    assert again.done == {12}
    again.finish(5)
    assert (again.path / "done").read_text() == "12\n5\n"
    again.close()
