"""One vector per region of a genome: units of work, read by several threads, pooled and written as they end.

Everything that is long-lived is in the work folder; RAM holds one call of the model, the memory of the rows, and the
regions that are open.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any

import torch

from titans_seq.genomics import Genome
from titans_seq.memory import NeuralMemory
from titans_seq.ops.native import library
from titans_seq.ops.native.room import keep_freed_memory
from titans_seq.streaming.embedding_job import Embedding
from titans_seq.streaming.pool import WEIGHING, Pool, Pooled
from titans_seq.streaming.reader import PassageReader
from titans_seq.streaming.relay import Relay
from titans_seq.streaming.session import Session
from titans_seq.streaming.units import Pace, Unit
from titans_seq.streaming.work_folder import WorkFolder
from titans_seq.tasks import NextBase

CHECKPOINT_SECONDS = 60.0
RELEASE = 2**22  # bases after which the pages of the genome are given back
Watch = Callable[[str, float, float, str], None]


def embed(
    job: Embedding,
    work: WorkFolder,
    *,
    threads: int = 1,
    relay: Relay | None = None,
    watch: Watch = lambda stage, done, total, note: None,
) -> None:
    """Read every unit that is not done and put the vectors of its regions into the work folder.

    On a CPU each thread reads units of its own; where there are fewer units than threads, the threads share the heads
    of the memory, which the compiled kernels divide, or else the blocks of the model.
    """
    progress = _Progress(job.tokens, watch, job.genome)
    stop, turn, todo = Event(), Lock(), job.units()

    def next_unit() -> Unit | None:
        with turn:
            for unit in todo:
                if unit.number not in work.done:
                    return unit
                progress.skip(len(unit))
            return None

    def worker(task: NextBase) -> None:
        torch.set_num_threads(1)
        while not stop.is_set() and (unit := next_unit()) is not None:
            _read_unit(job, task, unit, work, progress, stop, relay)

    if not job.apart(threads):
        with _threads(job.model.task, threads):
            while (unit := next_unit()) is not None:
                _read_unit(job, job.model.task, unit, work, progress, stop, relay)
        return
    with _threads(job.model.task, 1), ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(worker, _twin(job.model.task)) for _ in range(threads)]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:  # after an error the other threads stop, noting where they stand
            stop.set()


def seconds_ahead(job: Embedding, *, threads: int) -> tuple[float, float]:
    """About how long the whole will take, and bases per second, from two calls of the model on this machine."""
    pace = Pace.of(job.device)
    tokens = torch.arange(min(pace.call, 4096)) % 4
    session = Session(job.model, layer=job.layer, predict=job.pool in WEIGHING)
    session.feed(tokens)
    start = time.perf_counter()
    session.feed(tokens)
    at_once = threads if job.apart(threads) else min(threads, len(job.model.task.encoder.blocks))
    if not job.apart(threads) and _share_heads(job.model.task, threads):
        at_once = 1  # the calls above had them
    # A GPU reads many rows in the time of one, where there are as many.
    rate = len(tokens) / (time.perf_counter() - start) * (at_once if job.device.type == "cpu" else pace.rows / 4)
    return job.tokens / rate, rate


@contextmanager
def _threads(task: NextBase, threads: int) -> Iterator[None]:
    """Within this context the model works on as many threads; the numbers are the same bits for any."""
    before, torch_before = task.encoder.threads, torch.get_num_threads()
    heads = _share_heads(task, threads)
    task.encoder.threads = threads if next(task.parameters()).device.type == "cpu" and not heads else 1
    torch.set_num_threads(threads if heads else 1)  # other operations are too small to be worth sharing
    keep_freed_memory()
    try:
        yield
    finally:
        task.encoder.threads = before
        torch.set_num_threads(torch_before)


def _share_heads(task: NextBase, threads: int) -> bool:
    """Whether threads divide the heads: a fifth faster than the blocks of two layers, which wait for each other."""
    heads = min((part.n_heads for part in task.encoder.modules() if isinstance(part, NeuralMemory)), default=1)
    return library() is not None and 1 < threads <= heads


def _twin(task: NextBase) -> NextBase:
    """The same model for another thread: modules of its own, since readings are tapped there, but shared weights."""
    shared = itertools.chain(task.parameters(), task.buffers())
    return copy.deepcopy(task, memo={id(tensor): tensor for tensor in shared})


def _read_unit(
    job: Embedding, task: NextBase, unit: Unit, work: WorkFolder, progress: _Progress, stop: Event, relay: Relay | None
) -> None:
    """Read a unit to the end of its last region of ours, or until ``stop``; note now and then where it stands."""
    reader = PassageReader(
        task, job.genome, unit.passages, rows=unit.rows, layer=job.layer,
        predict=job.pool in WEIGHING, call=Pace.of(job.device).call,
    )  # fmt: skip
    pools: dict[int, Pool] = {}
    readable = [rows for one, rows in zip(unit.passages, unit.regions, strict=True) if len(one)]
    left = sum(int((job.place[rows] >= 0).sum()) for rows in readable)
    handing = job.handed_on(unit)
    if (found := work.load(unit.number)) is not None:
        left = _restore(job, unit, reader, pools, *found)
    elif relay is not None and (found := relay.take(unit.number)) is not None:
        _restore(job, unit, reader, pools, *found)
    progress.skip(reader.tokens_done)
    del found  # else what was loaded is held to the end
    noted, before = time.monotonic(), reader.tokens_done
    while left:
        if relay is not None and handing is not None and handing.due(reader):
            relay.give(unit.number, handing.towards, _state(reader, pools, left))
        if (parts := reader.step()) is None:
            break
        for part in parts:
            pool = pools.get(part.number) or pools.setdefault(part.number, _pool(job, unit, part.number))
            left -= _put(job, work, unit, part.number, pool.add(part))
            if part.ends:
                left -= _put(job, work, unit, part.number, pools.pop(part.number).finish())
        progress.add(reader.tokens_done - before)
        before = reader.tokens_done
        if stop.is_set() or time.monotonic() - noted > CHECKPOINT_SECONDS:
            work.save(unit.number, *_state(reader, pools, left))
            noted = time.monotonic()
            if stop.is_set():
                return
    for number, passage in enumerate(unit.passages):
        if not len(passage):
            _put(job, work, unit, number, _pool(job, unit, number).finish())
    progress.skip(len(unit) - reader.tokens_done)
    work.finish(unit.number)
    if relay is not None:
        relay.drop(unit.number)


def _slot(job: Embedding, unit: Unit) -> int:
    return int(job.slots == 2 and unit.passages[0].strand == "-")


def _pool(job: Embedding, unit: Unit, number: int) -> Pool:
    rows = unit.regions[number]
    return Pool(
        job.pool, width=job.width, strand=unit.passages[number].strand, start=job.regions.start[rows],
        end=job.regions.end[rows],
    )  # fmt: skip


def _put(job: Embedding, work: WorkFolder, unit: Unit, number: int, pooled: list[Pooled]) -> int:
    """Write the vectors of those regions that are computed here; gives how many."""
    own = 0
    for region, vector in pooled:
        place = int(job.place[unit.regions[number][region]])
        if place >= 0:
            work.put(_slot(job, unit), place, vector)
            own += 1
    return own


def _state(reader: PassageReader, pools: dict[int, Pool], left: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and JSON of a unit that is being read."""
    tensors, cursor = reader.state()
    named = {f"session/{name}": value for name, value in tensors.items()}
    open_ones: dict[str, Any] = {}
    for number, pool in pools.items():
        named[f"pool/{number}"], open_ones[str(number)] = pool.state()
    return named, {"reader": cursor, "pools": open_ones, "left": left}


def _restore(
    job: Embedding, unit: Unit, reader: PassageReader, pools: dict[int, Pool], tensors: dict[str, torch.Tensor],
    cursor: dict[str, Any],
) -> int:  # fmt: skip
    """The inverse of `_state`; gives how many regions are still to come."""
    own = {name.removeprefix("session/"): t for name, t in tensors.items() if name.startswith("session/")}
    reader.restore(own, cursor["reader"])
    for number, state in cursor["pools"].items():
        pools[int(number)] = _pool(job, unit, int(number))
        pools[int(number)].restore(tensors[f"pool/{number}"], state)
    return int(cursor["left"])


class _Progress:
    """Bases done over all threads, and how fast this process reads them."""

    def __init__(self, total: int, watch: Watch, genome: Genome) -> None:
        self.total, self.watch, self.genome = total, watch, genome
        self.done = self.read = 0
        self.start = time.monotonic()
        self._lock = Lock()

    def skip(self, tokens: int) -> None:
        """Count what an earlier process read."""
        self.done += tokens

    def add(self, tokens: int) -> None:
        """Count what was read now; give its pages back now and then."""
        with self._lock:
            if (self.read + tokens) // RELEASE > self.read // RELEASE:
                self.genome.release()
            self.done += tokens
            self.read += tokens
            rate = self.read / max(time.monotonic() - self.start, 1e-9)
            self.watch("embed", self.done, self.total, f"{rate:,.0f} bases/s")
