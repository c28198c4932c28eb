"""`Session`: one model reading endless input, a piece at a time, with everything it carries in one file.

    session = Session(open_dna_model("runs/ecoli"), layer=-1)
    readings = session.feed("ACGTTGCA")          # any length, from one base to a chromosome
    session.save("here.safetensors")             # later, or elsewhere: Session(model).load("here.safetensors")
    readings = session.feed("GGT")               # the same numbers as one feed of "ACGTTGCAGGT"

Feeding a stream whole or in any pieces gives the same numbers: on a CPU the same bits, and elsewhere what is carried is
computed in the same chunks (`titans_seq.tasks.pending`). Base t of a piece has

    vectors[:, t]   h_t = the chosen layer after reading base t
    logits[:, t]    of the base after it:   p(s_{t+1} | s_0 .. s_t) = softmax(logits_t)
    loss[:, t]      - log p(s_t | s_0 .. s_{t-1}) in nats: what this base itself cost. NaN for an unknown base (N),
                    and for the first of a stream, before which nothing was read

Axes: B rows read side by side (1 unless ``rows`` says otherwise), T tokens of the piece, d_model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from titans_seq.errors import ShapeError, StateMismatchError
from titans_seq.genomics import N_TOKEN, encode
from titans_seq.memory.table_layout import SHORT
from titans_seq.streaming.model import DnaModel
from titans_seq.streaming.place import Place
from titans_seq.streaming.readings import Readings, layer_number, tapped
from titans_seq.streaming.session_file import model_hash, read_session, write_session
from titans_seq.tasks import NextBase, nats_per_base
from titans_seq.tasks.next_base import NextBaseState

CALL = 4096
"""Row-tokens of one call that suit a CPU: fewer pay for calling torch, more leave the cache."""

Piece = str | bytes | npt.NDArray[np.integer] | Tensor | Sequence[int]


class Session:
    """A stream, or ``rows`` of them side by side, and how far it was read.

    Parameters
    ----------
    model
        From `open_dna_model`, or its ``task`` alone. It is only read from, so many sessions may share it.
    layer
        Whose vectors are given: 0 the vectors of the bases before the first block, k after block k, -1 (or the number
        of blocks) the encoder's output; None for no vectors.
    record
        Also give surprise, write and forget of every memory (`Readings.memory`).
    rows
        Streams read side by side.
    predict
        False where vectors and records alone are wanted, which is a little faster: logits and loss are NaN.
    device
        Where to compute; the model must be there. By default where the model is.
    place
        Where in an assembly the stream begins; carried along and saved. Of a single row only.
    call
        Most row-tokens in one call of the model: RAM is bounded by it, whatever the length of a piece.
    expect
        About how many tokens a row will read, for models with a table: it is laid out for so many when a stream
        begins (65,536 unless said otherwise; at most what the model's settings allow), and where more come, old
        contexts give way. A saved session goes on with the table it began with.

    Raises
    ------
    RangeError
        No such layer.
    """

    def __init__(
        self,
        model: DnaModel | NextBase,
        *,
        layer: int | None = -1,
        record: bool = False,
        rows: int = 1,
        predict: bool = True,
        device: torch.device | str | None = None,
        place: Place | None = None,
        call: int = CALL,
        expect: int = SHORT,
    ) -> None:
        self.task = model.task if isinstance(model, DnaModel) else model
        self.task.eval()
        self.device = next(self.task.parameters()).device if device is None else torch.device(device)
        self.layer = None if layer is None else layer_number(layer, blocks=len(self.task.encoder.blocks))
        self.record, self.rows, self.predict, self.call, self.expect = record, rows, predict, call, expect
        if place is not None and rows != 1:
            raise ShapeError(f"a place belongs to a single row; this session has {rows} rows")
        self.place = place
        self._state: NextBaseState | None = None
        self._logits = self._no_logits()
        self._read = 0

    @property
    def border(self) -> int:
        """Some rows can be reset alone only after a multiple of this many tokens (`Encoder.border`)."""
        return self.task.encoder.border

    @property
    def tokens_read(self) -> int:
        """Tokens of each row since the stream began, masked ones included."""
        return self._read

    def feed(self, piece: Piece, *, start: int | None = None) -> Readings:
        """Read a piece and say what the model made of it.

        Parameters
        ----------
        piece
            Letters (A C G T U N and the other IUPAC codes, any case), or tokens 0 to 4: (T,), or (rows, T). On strand
            ``-`` in reading order, that is, already reverse-complemented.
        start
            Forward coordinate at which the piece begins (on strand ``-``: the end of what is read next); refused where
            the session stands somewhere else.

        Raises
        ------
        ShapeError, RangeError
            Not (T,) or (rows, T); not tokens of bases.
        StateMismatchError
            ``start`` is not where the session stands; both are named.
        """
        if start is not None:
            self._check_follows(start)
        tokens = self._tokens(piece)
        parts = []
        call = max(self.border, self.call // self.rows // self.border * self.border)
        at, total = 0, tokens.shape[1]
        while at < total:
            size = min(call - self._read % call, total - at)
            parts.append(self._call(tokens[:, at : at + size]))
            at += size
        if self.place is not None:
            self.place = self.place.after(total)
        return Readings.join(parts) if parts else self._nothing()

    def fill(self) -> None:
        """Read masked tokens up to the next border: the memory does not change, and rows can be reset there."""
        missing = -self._read % self.border
        if missing:
            self._call(torch.full((self.rows, missing), N_TOKEN, dtype=torch.long, device=self.device))

    def reset(self, rows: Sequence[bool] | Tensor | None = None, *, place: Place | None = None) -> None:
        """Begin anew: all rows, or those marked; then ``place`` (or no place) is where the stream begins.

        Raises
        ------
        ShapeError
            Some rows only, and not at a border: `fill` first.
        """
        if rows is None:
            self._state, self._logits, self._read, self.place = None, self._no_logits(), 0, place
            return
        chosen = torch.as_tensor(rows, dtype=torch.bool, device=self.device)
        if chosen.shape != (self.rows,):
            raise ShapeError(f"expected one bool for each of {self.rows} rows, found {tuple(chosen.shape)}")
        if self._state is not None:
            with torch.inference_mode():
                self._state = self._state.reset(chosen)
        self._logits = torch.where(chosen[:, None], self._no_logits(), self._logits)

    def narrow(self, rows: Sequence[int]) -> None:
        """Go on with some rows only, by number; the others are forgotten."""
        chosen = torch.as_tensor(rows, device=self.device)
        # The first axis of everything carried is B; only the position, a scalar, has none.
        kept = {name: value[chosen] if value.ndim else value for name, value in self.tensors().items()}
        self.rows = len(rows)
        self.take(kept, tokens_read=self._read)

    def fork(self) -> Session:
        """A second session that stands where this one does; from here on neither knows of the other."""
        twin = Session(
            self.task, layer=self.layer, record=self.record, rows=self.rows, predict=self.predict, device=self.device,
            place=self.place, call=self.call, expect=self.expect,
        )  # fmt: skip
        twin.take({name: value.clone() for name, value in self.tensors().items()}, tokens_read=self._read)
        return twin

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that is carried, and the place, under a temporary name and rename it; see FORMAT.md.

        Raises
        ------
        OutputError
            The folder is not there or cannot be written, or the disk is full.
        """
        write_session(
            Path(path), self.tensors(), model=model_hash(self.task), tokens=self._read, rows=self.rows,
            place=self.place,
        )  # fmt: skip

    def load(self, path: str | os.PathLike[str], *, expect: Place | None = None) -> Session:
        """Stand where the saved session stood; gives this session.

        Parameters
        ----------
        expect
            Where it should stand. Its assembly's checksum, contig, position and strand are compared.

        Raises
        ------
        InputFileError
            Not a session of ours, damaged, or of a newer version.
        StateMismatchError
            Made by another model, with another number of rows, of another assembly, or standing elsewhere: both are
            named. This session is then unchanged.
        """
        found = read_session(Path(path))
        mine = model_hash(self.task)
        if found.model != mine:
            raise StateMismatchError(
                f"{path}: this session was saved by model {found.model[:16]}, but is loaded with model {mine[:16]}; "
                "open the model it was saved beside"
            )
        if found.rows != self.rows:
            raise StateMismatchError(f"{path}: this session has {found.rows} rows, but is loaded into {self.rows}")
        if expect is not None:
            expect.check(found.place, where=str(path))
        self.take(found.tensors, tokens_read=found.tokens)
        self.place = found.place
        return self

    def tensors(self) -> dict[str, Tensor]:
        """All that is carried, by name, for a checkpoint of one's own; `take` undoes it."""
        carried = {} if self._state is None else self._state.tensors()
        return {"logits": self._logits, **{f"state/{name}": value for name, value in carried.items()}}

    def take(self, tensors: Mapping[str, Tensor], *, tokens_read: int) -> None:
        """Carry ``tensors``, from `tensors` of a session of the same model and rows."""
        named = {name: value.to(self.device) for name, value in tensors.items()}
        state = {name.removeprefix("state/"): t for name, t in named.items() if name.startswith("state/")}
        self._state = self.task.load_state(state) if state else None
        self._logits, self._read = named["logits"], tokens_read

    def _call(self, tokens: Tensor) -> Readings:
        """One call of the model over (B, T) int64 tokens on the device."""
        with torch.inference_mode(), tapped(self.task, layer=self.layer, record=self.record) as tap:
            if self._state is None:
                self.task.expect(self.expect)
            # The model reads bases behind its last border again, and fills the chunk that they begin.
            held = 0 if self._state is None else self._state.held_back
            given = slice(held, held + tokens.shape[1])
            logits, self._state = self.task(tokens, state=self._state, predict=self.predict)
            loss = self._loss(logits, tokens) if self.predict else logits[..., 0]
            self._logits = logits[:, -1]
            self._read += tokens.shape[1]
            return Readings(tap.vectors(given), logits, loss, tap.memory(tokens < N_TOKEN, given))

    def _loss(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """What each token cost (B, T), by the logits before it."""
        before = torch.cat([self._logits[:, None], logits[:, :-1]], 1)
        known = (tokens < N_TOKEN) & before[..., 0].isfinite()
        return torch.where(known, nats_per_base(before, tokens, known), torch.nan)

    def _nothing(self) -> Readings:
        """Readings of a piece of no tokens."""
        width = self.task.encoder.d_model
        vectors = None if self.layer is None else torch.empty(self.rows, 0, width, device=self.device)
        empty = torch.empty(self.rows, 0, device=self.device)
        return Readings(vectors, torch.empty(self.rows, 0, 4, device=self.device), empty, None)

    def _tokens(self, piece: Piece) -> Tensor:
        raw = encode(piece) if isinstance(piece, str | bytes) else piece
        if isinstance(raw, np.ndarray):
            raw = raw.astype(np.int64)
        tokens = torch.as_tensor(raw, dtype=torch.long, device=self.device)
        if tokens.ndim == 1 and self.rows == 1:
            tokens = tokens[None]
        if tokens.ndim != 2 or tokens.shape[0] != self.rows:
            raise ShapeError(f"expected tokens of shape ({self.rows}, T), found {tuple(tokens.shape)}")
        return tokens

    def _check_follows(self, start: int) -> None:
        if self.place is None:
            raise StateMismatchError(f"the piece begins at {start:,}, but this session was given no place")
        if self.place.position != start:
            raise StateMismatchError(
                f"the session stands at {self.place}, but the piece begins at {start:,}; feed what follows, or reset"
            )

    def _no_logits(self) -> Tensor:
        return torch.full((self.rows, 4), torch.nan, device=self.device)
