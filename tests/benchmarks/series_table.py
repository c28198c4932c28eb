"""Does the table help series whose readings come back? Bits per reading with it carried, begun anew, without.

    python -m tests.benchmarks.series_table        # a few minutes of one core; needs ../shared/data

`motifs` is made here: 60 stretches of 300 readings, a random walk with noise, drawn again and again. `ecg` is five
minutes of an electrocardiogram (360 readings a second, beats that are like one another, never the same), `AEP` the
hourly load of a power grid, `nyc_taxi` the passengers of half hours; the days of `art_daily` (made, of NAB) are the
same. Readings are quantised to 16 levels of equal frequency in the first half.

Every arm predicts the next level from one small network over the last 24 readings, trained on the first half and
stopped where the next tenth was predicted best; the mixture of that network and the table is trained on nothing and
learns while it reads, at the rate that was best on that tenth. The last 40 % count. `anew` forgets table and mixture
every 4,096 readings. xz is what the last part adds to what comes before in `lzma` at its highest setting, a byte for
each reading.
"""

from __future__ import annotations

import argparse
import copy
import io
import lzma
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from titans_seq.memory.table_layout import TableSpec
from titans_seq.tasks.mixing import TableMixing

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LEVELS, BACK, CALL, ANEW = 16, 24, 128, 4096
RATES = (0.0005, 0.002, 0.008)
TRAINED, CHOSEN = 0.5, 0.6  # shares of a series behind which the network is not trained, nothing is chosen
SPEC = TableSpec(alphabet=LEVELS, complement=None, orders=(1, 2, 3, 4, 5, 6, 8, 12), copies=(5, 8, 15), tolerance=6)


class LastReadings(nn.Module):
    """A network over the last `BACK` readings: (B, BACK - 1 + T) tokens give T predictions and hidden vectors."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.embed = nn.Embedding(LEVELS + 1, 8)
        self.hidden = nn.Sequential(nn.Linear(8 * BACK, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.head = nn.Linear(width, LEVELS)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.hidden(self.embed(tokens).unfold(1, BACK, 1).flatten(2))
        return self.head(hidden), hidden


def motifs(count: int, seed: int = 0) -> np.ndarray:
    """Readings in which every stretch after the first few was there before, number for number."""
    random = np.random.default_rng(seed)
    known = [random.normal(0, 0.3, 300).cumsum() + random.normal(0, 0.5, 300) for _ in range(60)]
    return np.concatenate([known[random.integers(60)] for _ in range(-(-count // 300))])[:count]


def quantised(values: np.ndarray, split: int) -> Tensor:
    """Levels of equal frequency in the first part, int64 (T,)."""
    edges = np.quantile(values[:split], np.arange(1, LEVELS) / LEVELS)
    return torch.from_numpy(np.searchsorted(edges, values).astype(np.int64))


def train_network(tokens: Tensor, split: int, stop: int, *, steps: int) -> LastReadings:
    """Train on tokens [0, split); the weights that predicted [split, stop) best."""
    network = LastReadings()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    best, kept = float("inf"), network.state_dict()
    for step in range(steps):
        begin = torch.randint(0, split - BACK - 64, (32, 1))
        part = tokens[begin + torch.arange(BACK + 64)]
        loss = F.cross_entropy(network(part[:, :-1])[0].flatten(0, 1), part[:, BACK:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 49:
            with torch.no_grad():
                cost = float(read(network, None, tokens[split:stop]).mean())
            if cost < best:
                best, kept = cost, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def read(network: LastReadings, mixing: TableMixing | None, tokens: Tensor, *, anew: int | None = None) -> Tensor:
    """Bits of every reading but the first, (T - 1,), in one pass."""
    row = F.pad(tokens, (BACK - 1, 0), value=LEVELS)[None]
    bits, state = [], None
    for start in range(0, len(tokens) - 1, CALL):
        stop = min(start + CALL, len(tokens) - 1)
        logits, hidden = network(row[:, start : stop + BACK - 1])
        here, coming = tokens[None, start:stop], tokens[start + 1 : stop + 1]
        if mixing is not None:
            if state is None or (anew and start % anew == 0):
                state = mixing.initial_state(1, device=tokens.device)
            mask = torch.ones_like(here, dtype=torch.bool)
            experts, state = mixing.read(here, mask, state)
            logits = mixing.mix(logits, mixing.gate(hidden), experts, tokens=here, mask=mask, state=state)
        bits.append(F.cross_entropy(logits[0], coming, reduction="none") / np.log(2))
    return torch.cat(bits)


def xz(tokens: Tensor, split: int) -> float:
    """Bits per reading that the last part adds."""
    whole, first = (len(lzma.compress(part.byte().numpy().tobytes(), preset=9 | lzma.PRESET_EXTREME))
                    for part in (tokens, tokens[:split]))  # fmt: skip
    return 8 * (whole - first) / (len(tokens) - split)


def row_of(name: str, values: np.ndarray, *, steps: int) -> str:
    """A line of the table."""
    torch.manual_seed(0)
    began, split, stop = time.process_time(), int(len(values) * TRAINED), int(len(values) * CHOSEN)
    tokens = quantised(values, split)
    network = train_network(tokens, split, stop, steps=steps)
    mixings = {rate: TableMixing(SPEC, d_model=128, drop=0.0, rate=rate) for rate in RATES}
    for mixing in mixings.values():
        mixing.expected = len(tokens)
    chosen = {rate: float(read(network, mixing, tokens[:stop])[split:].mean()) for rate, mixing in mixings.items()}
    rate = min(chosen, key=chosen.__getitem__)
    mixing = mixings[rate]
    arms = {"carried": read(network, mixing, tokens), "anew": read(network, mixing, tokens, anew=ANEW),
            "without": read(network, None, tokens)}  # fmt: skip
    tails = {arm: bits[stop - 1 :] for arm, bits in arms.items()}
    saved = tails["without"] - tails["carried"]
    parts = saved[: len(saved) // 20 * 20].view(20, -1).mean(1)
    means = " | ".join(f"{tail.mean():.4f}" for tail in tails.values())
    seconds = time.process_time() - began
    return (f"| {name} | {len(tokens) - stop:,} | {means} | {xz(tokens, stop):.4f} | "
            f"{saved.mean():+.4f} +- {parts.std() / 20**0.5:.4f} | {rate} | {seconds:.0f} |")  # fmt: skip


def series() -> Iterator[tuple[str, np.ndarray]]:
    """Name and readings."""
    yield "motifs", motifs(60_000)
    with np.load(DATA / "timeseries" / "ecg_scipy.npz") as file:
        yield "ecg", np.asarray(file[file.files[0]], dtype=np.float64)
    load = pl.read_csv(DATA / "timeseries" / "PJM_AEP_hourly.csv.gz").sort("Datetime")
    yield "AEP", load["AEP_MW"].to_numpy().astype(np.float64)
    with tarfile.open(DATA / "anomaly" / "nab.tar.gz") as archive:
        for name, path in (("nyc_taxi", "nyc_taxi.csv"), ("art_daily", "art_daily_no_noise.csv")):
            (member,) = (member for member in archive.getmembers() if member.name.endswith(path))
            stored = archive.extractfile(member)
            assert stored is not None
            yield name, pl.read_csv(io.BytesIO(stored.read()))["value"].to_numpy().astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="steps that train the network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| series | readings | table carried | anew | without | xz | saved, carried | rate | CPU s |\n"
        + "|---" * 9
        + "|"
    )
    for name, values in series():
        print(row_of(name, values, steps=options.steps), flush=True)


if __name__ == "__main__":
    main()
