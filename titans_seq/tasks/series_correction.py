"""A residual encoder that ships with a forecaster: what it carries along each track, and how it is asked.

A track's token n stands at its row (n + 1) P - 1, so tokens depend on the rows alone. Each is read once, and its
correction kept until its last step is realised, for the intervals. At a row between two tokens the encoder is asked by
a token of that row, which goes into no state.

Arms from the same weights: ``carried``; ``reset``, the encoder's state begun anew every so many tokens; ``off``, every
read of the memory is zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import lcm
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from titans_seq.memory import MemorySpec
from titans_seq.models import Encoder
from titans_seq.tasks.encoder_state import EncoderOnly
from titans_seq.tasks.series_residual import SeriesResidual
from titans_seq.tasks.series_state import Array, Carried
from titans_seq.tasks.series_tokens import Tokens, patches_of

Arm = Literal["carried", "reset", "off"]
AFRESH: Final = 16
"""Tokens after which the arm ``reset`` begins anew."""
_TOGETHER: Final = 128
"""Tracks of a call; bounds what their states take in RAM."""


@dataclass(frozen=True, eq=False)
class SeriesCorrection:
    """What is added to the paths of a `SeriesModel`.

    Attributes
    ----------
    task
        The encoder with its head, not to be trained any more.
    patch
        Rows between two tokens, P.
    gate
        Share of the correction that is taken, from held-out series.
    arm
        What is left of the memory.
    """

    task: SeriesResidual
    patch: int
    gate: float
    arm: Arm = "carried"

    def with_arm(self, arm: Arm) -> SeriesCorrection:
        """Give the same weights with less of a memory."""
        return replace(self, arm=arm)

    @property
    def horizon(self) -> int:
        """Steps of a path."""
        return self.task.head.out_features

    @property
    def remembers(self) -> bool:
        """Whether the encoder has a memory beside its attention."""
        return any(memory.spec.structure != "none" for memory in self.task.encoder.memories())

    @property
    def label(self) -> str:
        """What it is, in words."""
        return "a memory of each series" if self.remembers else "attention over each series' last rows"

    @property
    def kept(self) -> int:
        """Corrections that wait for their last step to be realised."""
        return patches_of(self.horizon, self.patch)

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides a correction."""
        digest = hashlib.sha256(f"{self.patch} {self.gate!r} {self.task.encoder.fingerprint()}".encode())
        for name, tensor in self.task.state_dict().items():
            if not name.startswith("encoder."):
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def begin(self, tracks: int) -> Carried:
        """Give what stands before the first row of so many tracks."""
        first = self.task.encoder.initial_state(1).detach().tensors()
        carried = {f"encoder.{name}": tensor.numpy().repeat(tracks, axis=0) for name, tensor in first.items()}
        return carried | {"corrections": np.zeros((tracks, self.kept, self.horizon))}

    def read(self, carried: Carried, tracks: NDArray[np.int64], number: int, tokens: Tokens) -> Array:
        """Read the next tokens of tracks that have had ``number`` each; gives their corrections, (tracks, n, horizon).

        They are in units of the standardised rows; ``carried`` goes on in place.
        """
        made = np.empty((*tokens.sizes.shape, self.horizon))
        for part in _parts(len(tracks)):
            y, after = self._run(carried, tracks[part], number, tokens, part)
            made[part] = self.gate * tokens.sizes[part, :, None] * y
            for name, tensor in after.tensors().items():
                carried[f"encoder.{name}"][tracks[part]] = tensor.numpy()
        both = np.concatenate([carried["corrections"][tracks], made], axis=1)
        carried["corrections"][tracks] = both[:, -self.kept :]
        return both

    def ask(self, carried: Carried, tracks: NDArray[np.int64], number: int, tokens: Tokens) -> Array:
        """Correct the paths of a row between tokens, (tracks, horizon); ``tokens`` has that one row and is not kept."""
        made = np.empty((len(tracks), self.horizon))
        for part in _parts(len(tracks)):
            y, _ = self._run(carried, tracks[part], number, tokens, part)
            made[part] = self.gate * tokens.sizes[part] * y[:, 0]
        return made

    @torch.no_grad()
    def _run(
        self, carried: Carried, tracks: NDArray[np.int64], number: int, tokens: Tokens, part: slice
    ) -> tuple[NDArray[np.float32], Any]:
        encoder = self.task.encoder
        features, known = torch.from_numpy(tokens.features[part]), torch.from_numpy(tokens.known[part])
        state = EncoderOnly(_state_of(carried, tracks, number, encoder))
        found = []
        with encoder.memory_off() if self.arm == "off" else nullcontext():
            for first, last in self._pieces(number, number + features.shape[1]):
                if self.arm == "reset" and first % self._afresh == 0:
                    state = EncoderOnly(state.encoder.reset())
                piece = slice(first - number, last - number)
                y, state = self.task(features[:, piece], known[:, piece], state)
                found.append(y)
        return torch.cat(found, 1).numpy(), state.encoder.detach()

    @property
    def _afresh(self) -> int:
        """Tokens of the arm ``reset``, whole chunks and segments of the encoder."""
        return lcm(AFRESH, self.task.encoder.border)

    def _pieces(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        step = self._afresh if self.arm == "reset" else max(last, 1)
        for at in range(first - first % step, last, step):
            yield max(at, first), min(at + step, last)


def describe(correction: SeriesCorrection) -> dict[str, Any]:
    """Give all but the weights as plain numbers and names, for a file; `rebuild` undoes it."""
    return {
        "patch": correction.patch, "gate": correction.gate, "horizon": correction.horizon,
        "features": correction.task.embed.in_features, "encoder": correction.task.encoder.config,
    }  # fmt: skip


def rebuild(record: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> SeriesCorrection:
    """Make a correction from `describe` and its named weights."""
    words = record["encoder"] | {"memory": MemorySpec(**record["encoder"]["memory"])}
    task = SeriesResidual(encoder=Encoder(**words), features=record["features"], horizon=record["horizon"])
    task.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    return SeriesCorrection(task.eval(), patch=record["patch"], gate=record["gate"])


def _state_of(carried: Carried, tracks: NDArray[np.int64], number: int, encoder: Encoder) -> Any:
    tensors = {
        name.removeprefix("encoder."): torch.from_numpy(array[tracks])
        for name, array in carried.items()
        if name.startswith("encoder.")
    }
    loose = encoder.state_type.from_tensors(tensors, position=number, n_layers=len(encoder.blocks), fingerprint="")
    return encoder.state_type(loose.layers, number, encoder=encoder)


def _parts(count: int) -> Iterator[slice]:
    for first in range(0, count, _TOGETHER):
        yield slice(first, first + _TOGETHER)
