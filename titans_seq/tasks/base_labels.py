"""Label every base of both strands: local letters, a memory read from both sides, one softmax per strand.

A block of L bases is read with a margin of M bases on either side, W = L + 2M, as two rows: the strand as it stands
and its reverse complement, with one set of weights. For a row (one strand h, read in its own direction):

    u_t = local(s)_t                     two convolutions over the letters                          (W, c)
    e_t = E[hexamer that begins at t]    a learned table                                            (W, r)
    x_n = A [sum of e over t in patch n with t mod 3 = f, f = 0, 1, 2] + A' [u over patch n]          (W/P, d)
    y   = encoder(x)                     carries its memory from block to block                      (W/P, d)
    g_n = [y_n of h, y_n of the other strand, flipped]     what was read from the left and from the right
    l_t = C gelu(B_t g_n + B' u_t + B'' e_t)               logits of the strand's states
    a_t = site(letters around t, g around t, ...)          logit that a gene begins at t, at start codons only

Exchanging the strands exchanges the outputs, exactly. Patches of P bases (a multiple of three) keep codon frames; the
three sums share the table, so a codon means the same in each frame. Both rows read every block from its margin on with
the memory that the block before left: memory flows from left to right, letters from both sides.

Rare states (a tRNA is one base in a thousand) are shown more often than they are: beside its streams a step reads
windows around them. Where q_k is the share of state k in what is shown and f_k that in the genome, the logits are moved
by what that changes, so that softmax(l) stays a probability:

    cost = - sum over labels k of log softmax(l + log q - log f)_k

Weights in the cost do less: a state that few steps see moves few times, however far it is pulled. Source of the shift:
Menon et al., "Long-tail learning via logit adjustment", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.models import Encoder, StreamState
from titans_seq.tasks.base_context import N_TOKENS, UNKNOWN, kmer_ids
from titans_seq.tasks.trainable import Cost, Units

IGNORED = -1
"""Label of a base that is not learned from."""

SITE_BEFORE, SITE_AFTER = 36, 18
"""Letters that the site head sees before a start codon's first base, and from it on."""


@dataclass(frozen=True, slots=True)
class BaseLabelsState:
    """The encoder's state for 2B rows: the strands as they stand, then their complements."""

    encoder: StreamState

    def detach(self) -> BaseLabelsState:
        """Cut the state from the graph."""
        return replace(self, encoder=self.encoder.detach())

    def reset(self, rows: Tensor) -> BaseLabelsState:
        """Start the rows marked in ``rows`` (B,) bool afresh, on both strands."""
        if not bool(rows.any()) or not self.encoder.tensors():
            return self
        return BaseLabelsState(self.encoder.reset(torch.cat([rows, rows])))

    def tensors(self) -> dict[str, Tensor]:
        """Name every tensor; `BaseLabels.load_state` undoes it."""
        return {"position": torch.tensor(self.encoder.position), **self.encoder.tensors()}


@dataclass(frozen=True, slots=True)
class BaseLogits:
    """What the model says of a block; strand 0 as it stands, strand 1 the other, both in forward coordinates.

    Attributes
    ----------
    states
        (B, 2, L, K) logits of each strand's states.
    sites
        (B, 2, L) logits that a gene begins, and ``-inf`` where no start codon stands. On strand 1 a gene begins at the
        highest coordinate of its codon.
    """

    states: Tensor
    sites: Tensor


class BaseLabels(nn.Module):
    """See the module's text.

    Parameters
    ----------
    encoder
        Maps (2B, W / patch, d_model) to the same shape and carries a state.
    d_model
        Its width.
    n_states
        K, states of a strand; 0 is "nothing".
    patch
        Bases P of an encoder token, a multiple of three.
    margin
        Bases M on either side of a block, a multiple of ``patch``.
    width, table_width
        c and r.
    start_codons
        Codon numbers (``16 a + 4 b + c``) at which a gene may begin; empty leaves the site head out.
    site_weight
        Weight of the site loss against the loss of the states.
    noise
        Share of the letters that training replaces by letters drawn at random; labels stay.
    dropout
        Of what the encoder reads and of what it says, in training.
    """

    shift: Tensor
    units: ClassVar[Units] = Units(targets="labels", score="nats_per_label", scale=1.0, short="nats/label")

    def __init__(
        self,
        *,
        encoder: Encoder,
        d_model: int,
        n_states: int,
        patch: int = 12,
        margin: int = 384,
        width: int = 32,
        table_width: int = 16,
        start_codons: Sequence[int] = (),
        site_weight: float = 1.0,
        noise: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.noise, self.dropout = noise, nn.Dropout(dropout)
        self.patch, self.margin, self.n_states, self.site_weight = patch, margin, n_states, site_weight
        self.start_codons = tuple(start_codons)
        self.letters = nn.Conv1d(N_TOKENS - 1, width, 9, padding=4)
        self.spread = nn.Conv1d(width, width, 9, padding=12, dilation=3)
        self.table = nn.Embedding(4**6 + 1, table_width)
        nn.init.normal_(self.table.weight, std=0.3)
        self.from_table = nn.Linear(3 * table_width, d_model)
        self.from_letters = nn.Linear(patch * width, d_model, bias=False)
        self.encoder = encoder
        self.to_bases = nn.Linear(2 * d_model, patch * width)
        self.local = nn.Linear(width + table_width, width, bias=False)
        self.head = nn.Linear(width, n_states)
        self.register_buffer("shift", torch.zeros(n_states), persistent=False)
        if self.start_codons:
            hidden = 64
            self.site_letters = nn.Linear((SITE_BEFORE + SITE_AFTER) * (N_TOKENS - 1), hidden)
            self.site_context = nn.Linear(6 * d_model, hidden, bias=False)
            self.site_base = nn.Linear(width, hidden, bias=False)
            self.site_place = nn.Embedding(patch, hidden)
            self.site_mix = nn.Linear(hidden, hidden)
            self.site_out = nn.Linear(hidden, 1)
            nn.init.constant_(self.site_out.bias, -3.0)

    def expect(self, shares: Sequence[float], *, shown: Sequence[float]) -> None:
        """Say how often each state is there and how often training shows it; the logits begin at the former."""
        share, seen = (torch.as_tensor(values, dtype=torch.float32).clamp(min=1e-6) for values in (shares, shown))
        self.shift.copy_(seen.log() - share.log())
        with torch.no_grad():
            self.head.bias.copy_(share.log())

    def forward(self, tokens: Tensor, *, state: BaseLabelsState | None = None) -> tuple[BaseLogits, BaseLabelsState]:
        """Read blocks with their margins.

        Parameters
        ----------
        tokens
            Integer tokens (B, W), 4 for unknown and for what lies outside.
        state
            What the block before left; None begins.
        """
        both, letters, g, h, after = self._read(tokens, state)
        states = self._kept(self.head(h).float())
        sites = self._kept(self._sites(both, letters, g, h)[..., None])[..., 0]
        return BaseLogits(states, sites), BaseLabelsState(after)

    def hidden(self, tokens: Tensor) -> Tensor:
        """What the head reads of blocks with their margins, memory begun afresh: (B, W) to (B, 2, L, width)."""
        return self._kept(self._read(tokens, None)[3])

    def cost(self, segment: Any, *, state: BaseLabelsState | None, device: torch.device) -> Cost:
        """Cross-entropy of the states in nats per label, plus the weighted cost of the sites.

        ``segment`` holds numpy arrays ``tokens`` (B, W), ``labels`` int8 (B, 2, L) with `IGNORED`, and ``sites`` int8
        (B, 2, L): 1 where a gene begins, 0 where none does, `IGNORED` where it is not known. ``rare_tokens`` (B, E, V)
        and ``rare_labels`` (B, E, 2, V - 2 M) are windows around rare states. Every other row reads them with what its
        memory holds after the block, the others with a memory begun afresh, so that neither tells a window by it.
        """
        tokens, labels, sites = (
            torch.as_tensor(array).to(device) for array in (segment.tokens, segment.labels, segment.sites)
        )
        logits, after = self(tokens, state=state)
        total, count = self._state_cost(logits, labels)
        windows, known = (torch.as_tensor(array).to(device) for array in (segment.rare_tokens, segment.rare_labels))
        if windows.shape[1]:
            held = after.detach().reset(torch.arange(len(windows), device=device) % 2 == 0)
            for number in range(windows.shape[1]):
                rare, more = self._state_cost(self(windows[:, number], state=held)[0], known[:, number])
                total, count = total + rare, count + more
        if self.start_codons:
            asked = torch.isfinite(logits.sites) & (sites != IGNORED)
            site = F.binary_cross_entropy_with_logits(logits.sites[asked], sites[asked].float(), reduction="sum")
            # Start codons are one base in twenty: this puts both costs on the scale of a label.
            total = total + self.site_weight * site
        return Cost(total, count, after)

    def _state_cost(self, logits: BaseLogits, labels: Tensor) -> tuple[Tensor, int]:
        known = labels != IGNORED
        cost = F.cross_entropy(logits.states[known] + self.shift, labels[known].long(), reduction="sum")
        return cost, int(known.sum())

    def load_state(self, tensors: Mapping[str, Tensor]) -> BaseLabelsState:
        """Rebuild a state from its tensors."""
        inner = {name: value for name, value in tensors.items() if name != "position"}
        state = self.encoder.state_type.from_tensors(
            inner,
            position=int(tensors["position"]),
            n_layers=len(self.encoder.blocks),
            fingerprint=self.encoder.fingerprint(),
        )
        return BaseLabelsState(state.bind(self.encoder))

    def _read(
        self, tokens: Tensor, state: BaseLabelsState | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, StreamState]:
        """Both strands as rows (2B, W), their letters one-hot, g, what the heads read, and the encoder's state."""
        tokens = self._noisy(tokens.long())
        both = torch.cat([tokens, reverse_complement(tokens)])
        letters = F.one_hot(both, N_TOKENS)[..., :UNKNOWN].float()
        u = F.gelu(self.letters(letters.transpose(1, 2)))
        u = (u + F.gelu(self.spread(u))).transpose(1, 2)
        e = self.table(_hexamers(both))
        x = self.from_table(self._by_frame(e)) + self.from_letters(u.unflatten(1, (-1, self.patch)).flatten(2))
        mask = (both < UNKNOWN).unflatten(1, (-1, self.patch)).any(-1)
        y, after = self.encoder(self.dropout(x), state=None if state is None else state.encoder, mask=mask)
        y = self.dropout(y)
        g = torch.cat([y, _other_strand(y)], -1)
        wide = self.to_bases(g).unflatten(-1, (self.patch, -1)).flatten(1, 2)
        return both, letters, g, F.gelu(wide + self.local(torch.cat([u, e], -1))), after

    def _noisy(self, tokens: Tensor) -> Tensor:
        """In training, some known letters replaced by others, on both strands alike."""
        if not self.training or not self.noise:
            return tokens
        chosen = torch.rand(tokens.shape, device=tokens.device) < self.noise
        return torch.where(chosen & (tokens < UNKNOWN), torch.randint_like(tokens, UNKNOWN), tokens)

    def _by_frame(self, e: Tensor) -> Tensor:
        """Sum a patch's vectors by their place modulo three: (2B, W, r) to (2B, W / P, 3 r)."""
        return e.unflatten(1, (-1, self.patch // 3, 3)).sum(2).flatten(2)

    def _kept(self, values: Tensor) -> Tensor:
        """Leave the margins out and bring both strands into forward coordinates: (2B, W, k) to (B, 2, L, k)."""
        return both_strands(values[:, self.margin : values.shape[1] - self.margin])

    def _sites(self, both: Tensor, letters: Tensor, g: Tensor, h: Tensor) -> Tensor:
        """Logits (2B, W) at start codons, ``-inf`` elsewhere."""
        logits = h.new_full(both.shape, float("-inf"), dtype=torch.float32)
        if not self.start_codons:
            return logits
        row, place = torch.nonzero(self._begins(both), as_tuple=True)
        size = both.shape[1]
        around = F.pad(letters, (0, 0, SITE_BEFORE, SITE_AFTER)).unfold(1, SITE_BEFORE + SITE_AFTER, 1)
        token = place // self.patch
        near = torch.cat([g[row, (token + step).clamp(0, size // self.patch - 1)] for step in (-1, 0, 1)], -1)
        x = self.site_letters(around[row, place].transpose(1, 2).flatten(1)) + self.site_context(near)
        x = F.gelu(x + self.site_base(h[row, place]) + self.site_place(place % self.patch))
        found = self.site_out(F.gelu(x + self.site_mix(x)))[:, 0].float()
        return logits.index_put((row, place), found)

    def _begins(self, both: Tensor) -> Tensor:
        """Whether a start codon begins at each position, (2B, W) bool."""
        a, b, c = both[:, :-2], both[:, 1:-1], both[:, 2:]
        number = torch.where((a < UNKNOWN) & (b < UNKNOWN) & (c < UNKNOWN), 16 * a + 4 * b + c, -1)
        return F.pad(torch.isin(number, torch.tensor(self.start_codons, device=both.device)), (0, 2))


def both_strands(rows: Tensor) -> Tensor:
    """Rows of the strands and of their reverse complements side by side, forward: (2B, L, k) to (B, 2, L, k)."""
    forward, backward = rows.chunk(2)
    return torch.stack([forward, backward.flip(1)], 1)


def reverse_complement(tokens: Tensor) -> Tensor:
    """The reverse complement of each row; unknown stays unknown."""
    return torch.where(tokens < UNKNOWN, 3 - tokens, tokens).flip(1)


def _hexamers(tokens: Tensor) -> Tensor:
    """Number of the hexamer that begins at each position; 4^6 where it is unknown or cut off."""
    return kmer_ids(F.pad(tokens, (0, 5), value=UNKNOWN), 6)[:, 5:]


def _other_strand(y: Tensor) -> Tensor:
    """Each row's partner, flipped to stand at the same places: rows 0..B-1 and B..2B-1 change places."""
    forward, backward = y.chunk(2)
    return torch.cat([backward.flip(1), forward.flip(1)])
