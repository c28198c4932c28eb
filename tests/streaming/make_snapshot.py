"""How the files of data/ came about: `python -m tests.streaming.make_snapshot`, which makes only what is not there."""

from __future__ import annotations

from pathlib import Path

import torch

from titans_seq.streaming import Encoder, Place, Session
from titans_seq.streaming.session_file import VERSION
from titans_seq.tasks import BaseContext, NextBase

OLD = Path(__file__).parent / "data" / "mag-v1.safetensors"
SESSIONS = {version: Path(__file__).parent / "data" / f"session-v{version}.safetensors" for version in (1, 2)}


def small_encoder() -> Encoder:
    """An encoder whose weights are the same everywhere: no random numbers."""
    encoder = Encoder(variant="mag", d_model=4, n_layers=1, n_heads=1, chunk_size=4, window=3, persistent=1)
    with torch.no_grad():
        for i, p in enumerate(encoder.parameters()):
            p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p).mul(0.5 + 0.1 * i))
    return encoder


def small_tokens() -> torch.Tensor:
    return torch.linspace(-1, 1, 2 * 6 * 4).view(2, 6, 4)


def small_session() -> Session:
    """A session of a whole task, likewise, before its first base."""
    context = BaseContext(d_model=4, window=3, kmers=(2,), kmer_width=2)
    task = NextBase(encoder=small_encoder(), context=context, d_model=4)
    with torch.no_grad():
        for i, (name, p) in enumerate(task.named_parameters()):
            if not name.startswith("encoder."):
                p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p).mul(0.5 + 0.1 * i))
    return Session(task, place=Place("chr1", 1000, assembly="made.fa.gz", checksum="ab" * 32))


BASES = "ACGTNACCGT"

if __name__ == "__main__":
    encoder = small_encoder()
    with torch.no_grad():
        _, state = encoder(small_tokens())
    session = small_session()
    session.feed(BASES)
    for path, save in ((OLD, state.save), (SESSIONS[VERSION], session.save)):
        if not path.exists():
            save(path)
