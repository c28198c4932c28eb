"""Saving and loading a state: the same bits, the written format, and a readable error for every wrong file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.models.cases import PAIRS, build, in_pieces, tokens
from tests.streaming.make_snapshot import OLD, small_encoder, small_tokens
from titans_seq import tensor_files
from titans_seq.errors import InputFileError, OutputError, StateMismatchError
from titans_seq.streaming import EncoderState, snapshot


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A state of `build("mac")` after 11 tokens of 2 rows."""
    encoder, path = build("mac"), tmp_path / "stream.safetensors"
    _, state = encoder(tokens(2, 11))
    state.save(path)
    return path


def rewrite(path: Path, **changes: object) -> None:
    """Change entries of the header."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["titans_seq"])
    save_file(load_file(path), path, metadata={"titans_seq": json.dumps(header | changes)})


@pytest.mark.parametrize(("variant", "memory"), PAIRS)
def test_saved_and_loaded_in_between_gives_the_same_bits(variant: str, memory: str, tmp_path: Path) -> None:
    encoder, x, path = build(variant, memory), tokens(2, 20), tmp_path / "state.safetensors"
    with torch.no_grad():
        _, state = encoder(x[:, :11])
        wanted, end = encoder(x[:, 11:], state)
        state.save(path)
        for loaded in (EncoderState.load(path), EncoderState.load(path, encoder=encoder)):
            found, after = encoder(x[:, 11:], loaded)
            assert found.equal(wanted)
            assert after.position == end.position == 20
            for name, t in after.tensors().items():
                assert t.equal(end.tensors()[name]), name


def test_saved_after_every_piece(tmp_path: Path) -> None:
    encoder, x, path = build("hybrid"), tokens(1, 21), tmp_path / "state.safetensors"
    with torch.no_grad():
        wanted, _ = in_pieces(encoder, x, [3, 4, 11, 18])
        outputs, state = [], None
        for start, stop in ((0, 3), (3, 4), (4, 11), (11, 18), (18, 21)):
            y, state = encoder(x[:, start:stop], state)
            state.save(path)
            state = EncoderState.load(path, encoder=encoder)
            outputs.append(y)
    assert torch.cat(outputs, 1).equal(wanted)


def test_the_file_is_what_the_format_says(saved: Path) -> None:
    encoder = build("mac")
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    assert set(metadata) == {"titans_seq"}
    assert json.loads(metadata["titans_seq"]) == {
        "format": "titans-seq state",
        "version": 1,
        "model": encoder.fingerprint(),
        "position": 11,
        "layers": 2,
    }
    parts = load_file(saved)
    assert {name.partition(".")[0] for name in parts} == {"0", "1"}
    fresh = encoder.initial_state(2).tensors()
    assert {n: (t.shape, t.dtype) for n, t in parts.items()} == {n: (t.shape, t.dtype) for n, t in fresh.items()}


def test_format_page_names_every_part() -> None:
    page = (Path(snapshot.__file__).parent / "FORMAT.md").read_text()
    parts = {
        name.partition(".")[2]
        for variant, memory in PAIRS
        for name in build(variant, memory).initial_state(1).tensors()
    }
    assert [part for part in sorted(parts) if f"`{part.rsplit('.', 1)[-1]}`" not in page] == []


def test_an_old_file_keeps_loading() -> None:
    """Version 1, as committed. The hash is not compared: it follows the weights' last bits, not the format."""
    state = EncoderState.load(OLD)
    with torch.no_grad():
        _, fresh = small_encoder()(small_tokens())
    assert state.position == 6
    assert state.batch == 2
    assert state.tensors().keys() == fresh.tensors().keys()
    for name, t in state.tensors().items():
        torch.testing.assert_close(t, fresh.tensors()[name], rtol=1e-4, atol=1e-5)
    assert OLD.stat().st_size < 10_000


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputFileError) as caught:
        EncoderState.load(tmp_path / "gone.safetensors")
    path = tmp_path / "gone.safetensors"
    assert str(caught.value) == f"{path}: no such file; expected a state written by EncoderState.save"


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x04\x95", bytes(100)], ids=["empty", "text", "pickle", "zeros"]
)
def test_not_a_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        InputFileError, match=r"state\.safetensors: expected a state written by EncoderState\.save, found"
    ):
        EncoderState.load(path)


@pytest.mark.parametrize("left", [0.02, 0.5, 0.99])
def test_a_truncated_file(saved: Path, left: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * left)])
    with pytest.raises(InputFileError, match=r"stream\.safetensors: expected a state"):
        EncoderState.load(saved)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"titans_seq": '{"format": "other"}'}], ids=str)
def test_a_safetensors_file_of_something_else(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(InputFileError, match="a titans-seq state file, found a safetensors file of something else"):
        EncoderState.load(path)


def test_a_newer_version(saved: Path) -> None:
    rewrite(saved, version=2)
    with pytest.raises(InputFileError) as caught:
        EncoderState.load(saved)
    assert str(caught.value) == f"{saved}: expected state version 1 or older, found version 2; update titans-seq"


@pytest.mark.parametrize(
    "changes",
    [{"version": None}, {"version": "1"}, {"position": None}, {"position": -4}, {"layers": 1}, {"model": 7}],
    ids=lambda c: "-".join(f"{k}={v}" for k, v in c.items()),
)
def test_a_damaged_header(saved: Path, changes: dict[str, object]) -> None:
    rewrite(saved, **changes)
    with pytest.raises(InputFileError, match=rf"stream\.safetensors: expected .*{next(iter(changes))}.*header"):
        EncoderState.load(saved)


def test_another_model_is_refused_with_both_hashes(saved: Path) -> None:
    owner, other = build("mac"), build("mac", seed=1)
    wanted = (
        f"this state was made by model {owner.fingerprint()[:16]}, but is used with model "
        f"{other.fingerprint()[:16]}; load the model it was saved beside"
    )
    with pytest.raises(StateMismatchError) as at_load:
        EncoderState.load(saved, encoder=other)
    with pytest.raises(StateMismatchError) as at_use:
        other(tokens(2, 3), EncoderState.load(saved))
    assert str(at_load.value) == str(at_use.value) == wanted


def test_a_full_disk_leaves_what_was_there(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    before, encoder = saved.read_bytes(), build("mac")
    _, state = encoder(tokens(2, 3))
    monkeypatch.setattr(tensor_files, "save_file", full)
    with pytest.raises(OutputError, match=r"the disk is full"):
        state.save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_others_may_read_it(saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o644


def test_no_folder_to_save_in(tmp_path: Path) -> None:
    encoder = build("mac")
    _, state = encoder(tokens(1, 3))
    with pytest.raises(InputFileError, match=r"no such folder"):
        state.save(tmp_path / "gone" / "state.safetensors")


def test_a_loaded_state_can_be_saved_again_without_its_model(saved: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    EncoderState.load(saved).save(copy)
    assert copy.read_bytes() == saved.read_bytes()
