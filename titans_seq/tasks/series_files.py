"""A series model and its states on disk: safetensors with a JSON header, whole or not at all.

The header is the entry ``titans_seq`` of the metadata: ``format`` (`MODEL_FORMAT` or `STATE_FORMAT`), ``version``,
``recipe`` (`Recipe.to_json`), ``clock`` and ``names`` (fields of `Clock` and `Names`), ``channels``, ``tracks``,
``method``, ``every``, ``learned``, ``fresh``, and ``model``, the hash that `SeriesModel.fingerprint` recomputes from
the tensors. A model file holds the tensors ``mean deviation weights levels quantiles gram cross`` and its configuration
(``config``, YAML); a state file holds the same as ``model.*``, every array of `SeriesState` as ``state.*``, and in
the header ``state_tracks`` and ``newest``, the tick of the newest row. All numbers are float64, counts and ticks
int64. Where a correction ships the header has ``correction`` (`series_correction.describe`), its weights are
``correction.*`` beside the model's tensors, and ``state.memory.*`` is what its encoder carries, float32 as the weights;
nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from titans_seq.errors import InputFileError, StateMismatchError
from titans_seq.tasks.series_correction import describe, rebuild
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_solve import Portions
from titans_seq.tasks.series_state import SeriesState
from titans_seq.tensor_files import load_tensors, read_metadata, save_tensors
from titans_seq.timeseries import Clock, Names

MODEL_FORMAT: Final = "titans-seq series model"
STATE_FORMAT: Final = "titans-seq series state"
VERSION: Final = 4
"""2: a recipe may name covariates; files of version 1 have none and are read as before. 3: a state counts portions of
its refit blocks, not whole ones, and intervals follow errors of the first steps too (``fresh``). 4: a model may have a
correction, and its state a memory; older files have none and are read as before."""
_CORRECTION: Final = "correction."
_ARRAYS: Final = ("mean", "deviation", "weights", "levels", "quantiles", "gram", "cross")


def save_model(path: Path, model: SeriesModel, *, names: Names, config: str = "") -> None:
    """Write a model, with the names of the table's columns and the configuration it was made from."""
    header = _model_header(model, names)
    save_tensors(path, _tensors(_model_arrays(model)), metadata={"titans_seq": json.dumps(header), "config": config})


def load_model(path: Path) -> tuple[SeriesModel, Names]:
    """Read a model; a run folder stands for the model inside it."""
    if path.is_dir():
        path = path / "model.safetensors"
    header = _header(path, MODEL_FORMAT)
    return _model(header, _arrays(path)), Names(**header["names"])


@dataclass(slots=True)
class Snapshot:
    """A state with all that is needed to go on from it: one file, so that copying it is a fork.

    Attributes
    ----------
    model, state, names
        The model, where it stands, and the names of the table's columns.
    """

    model: SeriesModel
    state: SeriesState
    names: Names

    def save(self, path: Path) -> None:
        """Write to ``path``, whole or not at all."""
        header = _model_header(self.model, self.names)
        header |= {
            "format": STATE_FORMAT,
            "state_tracks": list(self.state.tracks),
            "newest": int(self.state.tick.max()),
        }
        arrays = {f"model.{name}": array for name, array in _model_arrays(self.model).items()}
        arrays |= {f"state.{name}": value for name, value in self.state.arrays().items()}
        save_tensors(path, _tensors(arrays), metadata={"titans_seq": json.dumps(header)})

    @classmethod
    def load(cls, path: Path, *, model: SeriesModel | None = None) -> Snapshot:
        """Read a snapshot.

        Raises
        ------
        StateMismatchError
            Made by another model than ``model``, or changed since it was written; both hashes are named.
        """
        header, arrays = _header(path, STATE_FORMAT), _arrays(path)
        own = _model(header, _under("model.", arrays))
        for other, which in ((own.fingerprint, "its own weights say"), (model and model.fingerprint, "--model is")):
            if other is not None and other != header["model"]:
                raise StateMismatchError(
                    f"{path}: the state belongs to model {header['model']}, and {which} {other}; give the model it was "
                    "made with, or begin a new state"
                )
        parts = _under("state.", arrays)
        if header["version"] < 3:
            parts["portion"] = np.array([_portion_of(int(parts.pop("block")[0]), every=own.every)])
            parts |= {"quick": np.zeros(len(parts["scale"])), "tried": np.zeros(len(parts["scale"]), np.int64)}
        return cls(own, SeriesState.from_arrays(tuple(header["state_tracks"]), parts), Names(**header["names"]))


def read_newest(path: Path) -> int:
    """Give the stamp of the newest row that a snapshot has read, without reading its arrays."""
    return int(_header(path, STATE_FORMAT)["newest"])


def _portion_of(block: int, *, every: int) -> int:
    """Number the portion at which a state stands whose weights were solved when its block began."""
    if not every or block < 0:
        return -1
    portions = Portions(every)
    return block * portions.count + min(1, portions.count - 1)


def _model_arrays(model: SeriesModel) -> dict[str, NDArray[Any]]:
    arrays = {name: getattr(model, name) for name in _ARRAYS}
    if model.correction is not None:
        weights = model.correction.task.state_dict()
        arrays |= {f"{_CORRECTION}{name}": tensor.detach().cpu().numpy() for name, tensor in weights.items()}
    return arrays


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _model_header(model: SeriesModel, names: Names) -> dict[str, Any]:
    return {
        "format": MODEL_FORMAT, "version": VERSION, "recipe": model.recipe.to_json(), "clock": asdict(model.clock),
        "channels": list(model.channels), "tracks": list(model.tracks), "method": model.method, "every": model.every,
        "learned": model.learned, "fresh": model.fresh, "names": asdict(names), "model": model.fingerprint,
        "correction": None if model.correction is None else describe(model.correction),
    }  # fmt: skip


def _model(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> SeriesModel:
    found = header.get("correction")
    correction = None if found is None else rebuild(found, _under(_CORRECTION, arrays))
    return SeriesModel(
        recipe=Recipe.from_json(header["recipe"]), clock=Clock(**header["clock"]), channels=tuple(header["channels"]),
        tracks=tuple(header["tracks"]), method=header["method"], every=header["every"], learned=header["learned"],
        fresh=header.get("fresh", 0.0), correction=correction, **{name: arrays[name] for name in _ARRAYS},
    )  # fmt: skip


def _header(path: Path, wanted: str) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(read_metadata(path).get("titans_seq", "{}"))
    except json.JSONDecodeError as error:
        raise InputFileError(path, expected=f"a {wanted}", found=str(error)) from None
    if header.get("format") != wanted:
        raise InputFileError(path, expected=f"a {wanted}", found=str(header.get("format", "something else")))
    if header.get("version", 0) > VERSION:
        raise InputFileError(
            path, expected=f"version {VERSION} or older", found=f"version {header['version']}", hint="update titans-seq"
        )
    return header


def _tensors(arrays: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in load_tensors(path).items()}
