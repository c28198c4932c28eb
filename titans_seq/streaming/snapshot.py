"""States on disk: safetensors with a JSON header. The format is written down in FORMAT.md beside this file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self, TypeVar

from safetensors import SafetensorError, safe_open

from titans_seq.errors import InputFileError
from titans_seq.models import Encoder as _Encoder
from titans_seq.models import StreamState
from titans_seq.tensor_files import save_tensors

FORMAT = "titans-seq state"
VERSION = 1

_T = TypeVar("_T", int, str)


class EncoderState(StreamState):
    """All that an encoder carries, with save and load. See `StreamState` for the rest."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to ``path``: to a temporary name beside it, then renamed.

        Raises StateMismatchError where the state is tied to no model, so that its hash cannot be written, and
        InputFileError where there is no folder for it.
        """
        fingerprint = self.fingerprint or self.encoder().fingerprint()
        header = {
            "format": FORMAT, "version": VERSION, "model": fingerprint, "position": self.position,
            "layers": len(self.layers),
        }  # fmt: skip
        target = Path(path)
        if not target.absolute().parent.is_dir():
            raise InputFileError(path, problem="no such folder to save in", hint="create it first")
        save_tensors(target, self.tensors(), metadata={"titans_seq": json.dumps(header, sort_keys=True)})

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, encoder: _Encoder | None = None) -> Self:
        """Read a state; its model is checked here if ``encoder`` is given, else on first use.

        Raises
        ------
        InputFileError
            Not a state of ours, or of a newer version.
        StateMismatchError
            Made by another model; both hashes are named.
        """
        if not Path(path).is_file():
            raise InputFileError(path, problem="no such file; expected a state written by EncoderState.save")
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("titans_seq", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, OSError) as error:
            raise InputFileError(path, expected="a state written by EncoderState.save", found=str(error)) from None
        if header.get("format") != FORMAT:
            raise InputFileError(path, expected=f"a {FORMAT} file", found="a safetensors file of something else")
        version = _field(path, header, "version", int)
        if version > VERSION:
            raise InputFileError(
                path, expected=f"state version {VERSION} or older", found=f"version {version}", hint="update titans-seq"
            )
        position, layers = _field(path, header, "position", int), _field(path, header, "layers", int)
        numbers = {name.partition(".")[0] for name in tensors}
        if not numbers <= {str(i) for i in range(layers)}:
            raise InputFileError(
                path, expected=f"tensors of {layers} layers, as its header says", found=f"{sorted(tensors)}"
            )
        model = _field(path, header, "model", str)
        state = cls.from_tensors(tensors, position=position, n_layers=layers, fingerprint=model)
        return state if encoder is None else state.bind(encoder)


def _field(path: str | os.PathLike[str], header: dict[str, Any], name: str, kind: type[_T]) -> _T:
    """An entry of the header, which must be of its kind (and not negative)."""
    value = header.get(name)
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        words = "a number from 0" if kind is int else "text"
        raise InputFileError(path, expected=f"{words} as {name!r} in the header", found=repr(value))
    return value


class Encoder(_Encoder):
    """`titans_seq.models.Encoder`, whose states can be saved and loaded."""

    state_type = EncoderState


__all__ = ["Encoder", "EncoderState"]
