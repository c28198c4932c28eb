"""Surprise tracks: the numbers of a plain reading, whatever the parts; stopped anywhere, the same file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import surprise
from tests.pipelines.untrained import write_model
from titans_seq.genomics.alphabet import encode, reverse_complement
from titans_seq.streaming import Part, PassageReader, Session, open_dna_model, track_reading
from titans_seq.streaming.units import Pace
from titans_seq.tasks import score_pieces
from titans_seq.training.arms import Held, gather, pieces_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "run")


@pytest.fixture(scope="module")
def contigs() -> dict[str, str]:
    """Three contigs; in the first a short gap and a long one."""
    letters = np.random.default_rng(4)
    one = letters.choice(list("ACGT"), 900)
    one[300:310], one[500:560] = "N", "N"
    return {"one": "".join(one), "two": "".join(letters.choice(list("ACGT"), 401)), "three": "ACGTTGCAAC" * 9}


@pytest.fixture
def genome(contigs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "small.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    return path


def track(path: Path) -> dict[tuple[str, int, int], float]:
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return {(name, int(start), int(end)): float(value) for name, start, end, value in rows}


def binned(values: dict[str, np.ndarray], size: int) -> dict[tuple[str, int, int], float]:
    """Means of what is known, bin by bin, the plain way."""
    found = {}
    for name, numbers in values.items():
        for at in range(0, len(numbers), size):
            part = numbers[at : at + size]
            if not np.isnan(part).all():
                found[name, at, min(at + size, len(numbers))] = float(np.nanmean(part.astype(np.float64)))
    return found


def made(genome: Path, model: Path, out: Path, **options: object) -> dict[tuple[str, int, int], float]:
    job = surprise.prepare(genome=str(genome), model=model, out=out, device="cpu", gap_reset=30, **options)
    surprise.run(job)
    assert [path.name for path in out.parent.iterdir() if "parts" in path.name] == []
    return track(out)


def same(found: dict[tuple[str, int, int], float], wanted: dict[tuple[str, int, int], float]) -> None:
    assert list(found) == list(wanted)
    np.testing.assert_allclose(list(found.values()), list(wanted.values()), rtol=1e-4, atol=1e-6)


def losses(model: Path, text: str, *, strand: str) -> np.ndarray:
    """Bits of every base by one session per stretch between long gaps."""
    bits = np.full(len(text), np.nan)
    for start, end in ((0, 500), (560, 900)) if len(text) == 900 else ((0, len(text)),):
        tokens = encode(text[start:end])
        tokens = tokens if strand == "+" else reverse_complement(tokens)
        read = Session(open_dna_model(model), layer=None).feed(tokens).loss[0].numpy() / log(2)
        bits[start:end] = read if strand == "+" else read[::-1]
    return bits


@pytest.mark.parametrize(("strand", "size"), [("+", 32), ("+", 1), ("-", 7), ("both", 32)])
def test_loss_is_that_of_a_plain_reading(
    genome: Path, contigs: dict[str, str], model: Path, tmp_path: Path, strand: str, size: int
) -> None:
    found = made(genome, model, tmp_path / "t.bedgraph", strand=strand, size=size)
    ways = {name: [losses(model, text, strand=way) for way in ("+", "-")] for name, text in contigs.items()}
    if strand != "both":
        return same(found, binned({name: both["+-".index(strand)] for name, both in ways.items()}, size))
    # Every number of either strand counts once.
    joined = {name: np.stack(both, axis=1).reshape(-1) for name, both in ways.items()}
    wanted = binned(joined, 2 * size)
    return same(found, {(name, at // 2, -(-end // 2)): value for (name, at, end), value in wanted.items()})


def test_gain_is_reset_minus_carried_of_the_report(
    genome: Path, contigs: dict[str, str], model: Path, tmp_path: Path
) -> None:
    found = made(genome, model, tmp_path / "t.bg", what="gain", size=16)
    opened = open_dna_model(model)
    tokens = {name: encode(text) for name, text in contigs.items()}
    difference = {}
    for name, text in contigs.items():
        held = Held(name, 0, len(text), ((500, 560),) if name == "one" else ())
        arms = []
        for arm in ("reset", "carried"):
            (pieces,) = pieces_of(arm, [held], window=256, lead_in=32, piece=512, carry_bases=None)
            costs = score_pieces(opened.task, pieces, lambda n, a, b: tokens[n][a:b], rows=4, length=64)
            arms.append(gather(held, pieces, costs) / log(2))
        difference[name] = arms[0] - arms[1]
    same(found, binned(difference, 16))
    assert any(abs(value) > 1e-4 for value in found.values())


@pytest.mark.parametrize("what", ["gradient", "write", "forget"])
def test_what_the_memories_did(genome: Path, contigs: dict[str, str], model: Path, tmp_path: Path, what: str) -> None:
    found = made(genome, model, tmp_path / "t.bg", what=what, size=1, chroms=["two"])
    task = open_dna_model(model).task
    with torch.no_grad(), task.encoder.record() as readings:
        task(torch.from_numpy(encode(contigs["two"]).astype(np.int64))[None])
    of_a_call = {
        "gradient": lambda call: call.surprise,
        "write": lambda call: call.surprise * call.learning_rate,
        "forget": lambda call: call.forget,
    }[what]
    per_memory = [torch.cat([of_a_call(call) for call in calls], -1) for calls in readings]
    # The last chunk is filled up.
    wanted = torch.stack([values.mean(1)[0] for values in per_memory]).mean(0).numpy()[: len(contigs["two"])]
    same(found, binned({"two": wanted}, 1))


def test_context_and_chroms(genome: Path, model: Path, tmp_path: Path) -> None:
    whole = made(genome, model, tmp_path / "a.bg", chroms=["two", "three"])
    assert {key[0] for key in whole} == {"two", "three"}
    same(made(genome, model, tmp_path / "b.bg", chroms=["two", "three"], context="10k"), whole)
    short = made(genome, model, tmp_path / "c.bg", chroms=["two", "three"], context="64")
    assert short.keys() == whole.keys()
    changed = {key for key in whole if abs(short[key] - whole[key]) > 1e-6}
    assert {key for key in changed if key[1] < 128} == set()
    assert changed


def test_a_short_contig_takes_no_more_than_its_share(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a call are filled by the contigs, and what fills them up to the border is not much."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    letters, fasta = np.random.default_rng(8), tmp_path / "short.fa"
    texts = ["".join(letters.choice(list("ACGT"), 300)) for _ in range(40)]
    fasta.write_text("".join(f">c{number}\n{text}\n" for number, text in enumerate(texts)))
    fed: list[tuple[int, ...]] = []
    feed = Session.feed
    monkeypatch.setattr(Session, "feed", lambda self, block: (fed.append(block.shape), feed(self, block))[1])
    found = made(fasta, model, tmp_path / "t.bg", size=300)
    assert sum(rows * tokens for rows, tokens in fed) < 1.05 * sum(map(len, texts))
    assert len(fed) <= 4
    monkeypatch.setattr(Session, "feed", feed)
    (alone,) = made(fasta, model, tmp_path / "a.bg", size=300, chroms=["c7"]).values()
    assert found["c7", 0, 300] == pytest.approx(alone, rel=1e-5)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(("options", "after"), [({}, 3), ({"what": "gain"}, 12), ({"strand": "both", "size": 7}, 7)])
def test_stopped_and_gone_on(
    genome: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], after: int
) -> None:
    """In some step of some contig, with a note after every one: what was read is not read again."""
    given = {"genome": str(genome), "model": model, "device": "cpu", **options}
    monkeypatch.setattr(track_reading, "GROUP", 100)
    monkeypatch.setattr(Pace, "of", classmethod(lambda cls, device: Pace(call=128, least=128, rows=4, unit=1)))
    steps, step = [0, -1], PassageReader.step

    def counted(self: PassageReader) -> list[Part] | None:
        steps[0] += 1
        if steps[0] == steps[1]:
            raise StoppedError
        return step(self)

    monkeypatch.setattr(PassageReader, "step", counted)
    surprise.run(surprise.prepare(out=tmp_path / "whole.bg", **given))
    undisturbed, steps[:] = steps[0], [0, after]
    monkeypatch.setattr(track_reading, "NOTE_SECONDS", 0.0)
    job = surprise.prepare(out=tmp_path / "parts.bg", **given)
    with pytest.raises(StoppedError):
        surprise.run(job)
    assert not job.out.exists()
    other = replace(job, reading=replace(job.reading, what="forget"))
    assert surprise.TrackParts(job.out, {}, [], size=32, key=other.key()).done(0) is False
    steps[:] = [0, -1]
    surprise.run(job)
    assert steps[0] == undisturbed - (after - 1)
    assert job.out.read_bytes() == (tmp_path / "whole.bg").read_bytes()


@pytest.mark.slow
def test_killed_at_a_random_moment(tmp_path: Path) -> None:
    letters = np.random.default_rng(6)
    fasta = tmp_path / "g.fa"
    sizes = (track_reading.GROUP, track_reading.GROUP // 8)
    fasta.write_text("".join(f">c{size}\n{''.join(letters.choice(list('ACGT'), size))}\n" for size in sizes))
    model = write_model(tmp_path / "run", "model.n_layers=1", "model.chunk_size=64", "evaluation.window=512",
                        "evaluation.lead_in=64", "table.megabytes=0")  # fmt: skip
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def command(name: str) -> list[str]:
        words = ["-m", "titans_seq", "-q", "surprise", fasta, "--model", model, "-o", tmp_path / name]
        return [sys.executable, *map(str, words), "--bin", "100", "--device", "cpu"]

    subprocess.run(command("whole.bedgraph.gz"), check=True, env=environment)
    process = subprocess.Popen(command("parts.bedgraph.gz"), env=environment)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".parts*/part-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(random.random())
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command("parts.bedgraph.gz"), check=True, env=environment)
    assert (tmp_path / "parts.bedgraph.gz").read_bytes() == (tmp_path / "whole.bedgraph.gz").read_bytes()
    assert list(tmp_path.glob(".parts*")) == []
