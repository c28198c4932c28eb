"""A session: the same numbers however a stream is cut, saved, forked or packed beside others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.streaming.conftest import SMALL, make_model
from titans_seq.errors import RangeError, ShapeError, StateMismatchError
from titans_seq.genomics import encode
from titans_seq.models import StreamState
from titans_seq.streaming import DnaModel, Place, Readings, Session
from titans_seq.streaming.session_file import model_hash


def bases(length: int, *, seed: int = 0) -> np.ndarray:
    tokens = np.random.default_rng(seed).integers(0, 4, length).astype(np.uint8)
    tokens[length // 3 : length // 3 + 5] = 4
    return tokens


def assert_close(found: Readings, wanted: Readings) -> None:
    for name in ("vectors", "logits", "loss"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=0, atol=1e-5, equal_nan=True)
    if wanted.memory is not None:
        for name in ("surprise", "write", "forget"):
            torch.testing.assert_close(getattr(found.memory, name), getattr(wanted.memory, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_any_cut_gives_the_same(any_model: DnaModel, layer: int) -> None:
    tokens = bases(203)
    wanted = Session(any_model, layer=layer, record=True).feed(tokens)
    assert wanted.vectors is not None
    assert wanted.vectors.shape == (1, 203, 16)
    for cuts in ([], [1, 2, 3, 40, 41, 150], list(range(1, 203, 7))):
        session = Session(any_model, layer=layer, record=True, call=32)
        parts = [session.feed(part) for part in np.split(tokens, cuts)]
        assert_close(Readings.join(parts), wanted)


def test_readings_are_the_models_own(model: DnaModel) -> None:
    tokens = bases(90)
    found = Session(model).feed(tokens)
    with torch.no_grad():
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        logits, _ = model.task(ids)
    torch.testing.assert_close(found.logits, logits, rtol=0, atol=1e-6)
    known = np.flatnonzero((tokens < 4) & (np.arange(90) > 0))
    wanted = -logits.log_softmax(-1)[0, known - 1, tokens[known].astype(np.int64)]
    torch.testing.assert_close(found.loss[0, known], wanted, rtol=0, atol=1e-5)
    assert torch.isnan(found.loss[0, 0])
    assert int(found.loss.isnan().sum()) == 6
    y = model.task.head(model.task.norm(found.vectors))
    torch.testing.assert_close(y, logits, rtol=0, atol=1e-5)


def test_vectors_need_no_prediction(any_model: DnaModel) -> None:
    tokens = bases(90)
    found = Session(any_model, record=True, predict=False, call=32).feed(tokens)
    wanted = Session(any_model, record=True, call=32).feed(tokens)
    assert found.vectors is not None
    assert wanted.vectors is not None
    assert found.vectors.equal(wanted.vectors)
    assert found.logits.shape == wanted.logits.shape
    assert bool(found.loss.isnan().all())


def test_masked_tokens_are_not_recorded_and_readings_can_be_changed(model: DnaModel) -> None:
    tokens = bases(64)
    found = Session(model, record=True).feed(tokens)
    assert found.memory is not None
    assert found.memory.surprise.shape == (2, 1, 64)
    assert bool((found.memory.write[:, 0, tokens == 4] == 0).all())
    assert bool((found.memory.write[:, 0, tokens < 4] > 0).all())
    assert found.vectors is not None
    found.vectors.add_(1)
    found.loss.nan_to_num_()


def test_no_vectors_and_no_tokens(model: DnaModel) -> None:
    session = Session(model, layer=None)
    assert session.feed("ACGT").vectors is None
    nothing = Session(model).feed("")
    assert nothing.vectors is not None
    assert nothing.vectors.shape == (1, 0, 16)
    with pytest.raises(RangeError, match="expected a layer from 0 to 2"):
        Session(model, layer=3)


def test_letters_are_tokens(model: DnaModel) -> None:
    one, two = Session(model).feed("acGUn"), Session(model).feed(encode("ACGTN"))
    assert_close(one, two)
    with pytest.raises(RangeError, match="position 1"):
        Session(model).feed("AE")


def test_rows_are_streams_of_their_own(model: DnaModel) -> None:
    tokens = np.stack([bases(80, seed=seed) for seed in range(3)])
    together = Session(model, rows=3).feed(tokens)
    for row in range(3):
        alone = Session(model).feed(tokens[row])
        torch.testing.assert_close(together.vectors[row : row + 1], alone.vectors, rtol=0, atol=1e-5)
    with pytest.raises(ShapeError, match=r"\(3, T\)"):
        Session(model, rows=3).feed("ACGT")


def test_some_rows_begin_anew_at_a_border(any_model: DnaModel) -> None:
    session = Session(any_model, rows=2)
    session.feed(np.stack([bases(19), bases(19, seed=1)]))
    with pytest.raises(ShapeError, match="multiple of 8"):
        session.reset([True, False])
    session.fill()
    assert session.tokens_read == 24
    session.reset([True, False])
    found = session.feed(np.stack([bases(30, seed=2)] * 2))
    alone = Session(any_model).feed(bases(30, seed=2))
    torch.testing.assert_close(found.loss[:1], alone.loss, rtol=0, atol=1e-5, equal_nan=True)
    assert not torch.isnan(found.loss[1, 0])


def test_a_table_is_laid_out_for_what_is_expected(tmp_path: Path) -> None:
    model = make_model(tmp_path, settings=[*SMALL, "table.megabytes=8", "table.orders=[1, 12]", "table.copies=[12]"])

    def carried(session: Session) -> int:
        session.feed(bases(9))
        return sum(value.nbytes for value in session.tensors().values())

    short, large = carried(Session(model)), carried(Session(model, expect=100_000))
    assert large > 1.5 * short
    assert carried(Session(model, expect=1 << 16)) == carried(Session(model)) == short
    assert carried(Session(model, expect=10**9)) < 9_000_000
    begun_anew = Session(model, expect=100_000)
    begun_anew.feed(bases(9))
    begun_anew.reset()
    assert carried(begun_anew.fork()) == carried(begun_anew) == large


def test_a_fork_goes_its_own_way(any_model: DnaModel) -> None:
    session = Session(any_model, place=Place("chr1", 10))
    session.feed(bases(37))
    twin = session.fork()
    twin.feed(bases(50, seed=8))
    straight = Session(any_model)
    straight.feed(bases(37))
    assert_close(session.feed(bases(20, seed=9)), straight.feed(bases(20, seed=9)))
    assert str(twin.place) == "chr1:97 (+)"
    assert str(session.place) == "chr1:67 (+)"


def test_reset_begins_anew(model: DnaModel) -> None:
    session = Session(model, place=Place("chr1", 10))
    wanted = session.feed(bases(37))
    session.reset(place=Place("chr2", 100, strand="-"))
    assert_close(session.feed(bases(37)), wanted)
    assert session.place == Place("chr2", 63, strand="-")
    session.reset()
    assert session.place is None


def test_a_piece_must_follow(model: DnaModel) -> None:
    session = Session(model, place=Place("chr1", 100))
    session.feed("ACGT", start=100)
    session.feed("ACGT", start=104)
    with pytest.raises(StateMismatchError, match=r"stands at chr1:108 \(\+\), but the piece begins at 200"):
        session.feed("ACGT", start=200)
    with pytest.raises(StateMismatchError, match="was given no place"):
        Session(model).feed("ACGT", start=0)


def test_saved_and_loaded_in_between(any_model: DnaModel, tmp_path: Path) -> None:
    path, tokens = tmp_path / "here.safetensors", bases(60)
    session = Session(any_model, place=Place("chr1", 0, assembly="a.fa", checksum="1" * 64))
    session.feed(tokens[:29])
    session.save(path)
    wanted = session.feed(tokens[29:])
    loaded = Session(any_model).load(path, expect=Place("chr1", 29, checksum="1" * 64))
    found = loaded.feed(tokens[29:], start=29)
    assert found.loss.equal(wanted.loss)
    assert found.vectors.equal(wanted.vectors)
    assert loaded.place == session.place
    assert loaded.tokens_read == 60


@pytest.fixture
def saved(model: DnaModel, tmp_path: Path) -> Path:
    path = tmp_path / "here.safetensors"
    session = Session(model, place=Place("chr1", 100, assembly="a.fa", checksum="1" * 64))
    session.feed("ACGT")
    session.save(path)
    return path


def test_another_model_is_refused_with_both_hashes(model: DnaModel, other_model: DnaModel, saved: Path) -> None:
    with pytest.raises(StateMismatchError) as caught:
        Session(other_model).load(saved)
    hashes = [model_hash(m.task)[:16] for m in (model, other_model)]
    assert hashes[0] != hashes[1]
    assert f"saved by model {hashes[0]}, but is loaded with model {hashes[1]}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        (Place("chr1", 104, assembly="b.fa", checksum="2" * 9), r"a\.fa \(checksum 1+\), but .* b\.fa \(checksum 2+\)"),
        (Place("chr2", 104, checksum="1" * 64), r"stands at chr1:104 \(\+\), but what follows begins at chr2:104"),
        (Place("chr1", 5000), r"stands at chr1:104 \(\+\), but what follows begins at chr1:5,000"),
        (Place("chr1", 104, strand="-"), r"stands at chr1:104 \(\+\), but what follows begins at chr1:104 \(-\)"),
    ],
)  # fmt: skip
def test_another_place_is_refused_with_both(model: DnaModel, saved: Path, expect: Place, words: str) -> None:
    session = Session(model)
    with pytest.raises(StateMismatchError, match=words):
        session.load(saved, expect=expect)
    assert session.tokens_read == 0
    assert session.place is None


def test_other_rows_and_no_place_are_refused(model: DnaModel, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(StateMismatchError, match="has 1 rows, but is loaded into 2"):
        Session(model, rows=2).load(saved)
    Session(model).save(tmp_path / "nowhere.safetensors")
    with pytest.raises(StateMismatchError, match="found one without a place"):
        Session(model).load(tmp_path / "nowhere.safetensors", expect=Place("chr1", 0))
    with pytest.raises(ShapeError, match="a place belongs to a single row"):
        Session(model, rows=2, place=Place("chr1", 0))


def test_the_encoder_reads_whole_chunks_only(any_model: DnaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a stream is cut, so that writes of a chunk are summed in one order."""
    encoder, calls = any_model.task.encoder, []
    read = type(encoder).forward

    def watched(self: object, x: torch.Tensor, state: StreamState | None = None, **more: object) -> object:
        calls.append((0 if state is None else state.position, x.shape[1]))
        return read(encoder, x, state, **more)

    monkeypatch.setattr(type(encoder), "forward", watched)
    session = Session(any_model)
    for size in (3, 1, 4, 21, 11, 7):
        session.feed(bases(size))
    assert calls == [(0, 8), (0, 8), (0, 8), (8, 16), (24, 8), (24, 16), (40, 8)]
    assert session.tokens_read == 47
    assert session.tensors()["state/position"] == 40


def test_any_cut_gives_the_same_bits_in_chunks_of_a_presets_size(tmp_path: Path) -> None:
    """A small difference is nothing that a trained memory could make much of: there is none."""
    session = Session(make_model(tmp_path, settings=[*SMALL[:-1], "model.chunk_size=64", "table.megabytes=1.5"]))
    tokens = bases(1500)
    twin, whole = session.fork(), session.feed(tokens)
    parts = [twin.feed(part) for part in np.split(tokens, [1, 2, 63, 64, 200, 319, 400, 1400])]
    found = Readings.join(parts)
    assert found.vectors is not None
    assert whole.vectors is not None
    assert torch.equal(found.vectors, whole.vectors)
    assert torch.equal(found.loss.nan_to_num(), whole.loss.nan_to_num())
    assert all(torch.equal(value, twin.tensors()[name]) for name, value in session.tensors().items())
