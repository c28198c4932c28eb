"""CUDA graphs: a call of fixed shapes recorded once and replayed, so that no kernel waits for Python.

A replay reads and writes the same addresses every time. So the call's inputs are copied into buffers, the recorded
kernels run, and what they left is copied out: for the caller it is a function like before, whose state is never
changed in place. The copies cost a state's size per call, the gaps between a few hundred small kernels far more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import torch
from torch import Tensor

Call = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Record = Callable[[Callable[[], Sequence[Tensor]]], tuple[Sequence[Tensor], Callable[[], None]]]
State = Mapping[str, Tensor]
Read = Callable[[Tensor, Sequence[State], Tensor | None, int], tuple[Tensor, list[dict[str, Tensor]]]]
_WARM_UPS = 3  # so that what is compiled, chosen or allocated at the first calls is not recorded


def record_on_cuda(call: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], Callable[[], None]]:
    """What ``call`` returns, at fixed addresses, and a function that computes it anew from its inputs' addresses."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = call()
    return outputs, graph.replay


class Replayed:
    """``call`` of tensors, recorded over inputs of these shapes and replayed from then on."""

    def __init__(self, call: Call, inputs: Sequence[Tensor], record: Record) -> None:
        self._inputs = [t.clone(memory_format=torch.contiguous_format) for t in inputs]
        self._outputs, self._replay = record(lambda: call(self._inputs))

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Outputs for ``inputs``, of the recorded shapes, in tensors of their own."""
        for kept, new in zip(self._inputs, inputs, strict=True):
            kept.copy_(new)
        self._replay()
        return [t.clone() for t in self._outputs]


class ReplayedReads:
    """Reads of pieces of a stream, each shape recorded when it comes a second time: a last, odd piece never is."""

    def __init__(self, record: Record = record_on_cuda) -> None:
        self._record = record
        self._seen: set[Hashable] = set()
        self._recorded: dict[Hashable, Replayed] = {}

    def __deepcopy__(self, memo: object) -> ReplayedReads:
        return ReplayedReads(self._record)  # recordings hold the addresses of one model

    def read(
        self, run: Read, x: Tensor, states: Sequence[State], mask: Tensor | None, position: int, *, settings: Hashable
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """What ``run(x, states, mask, position)`` returns. ``settings``: all else that changes which kernels run."""
        names = [tuple(layer) for layer in states]
        inputs = [x, *([] if mask is None else [mask]), *(t for layer in states for t in layer.values())]
        kind = torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type)
        key = (tuple((t.shape, t.dtype, t.device) for t in inputs), mask is None, settings, kind,
               torch.is_inference_mode_enabled())  # fmt: skip
        if key not in self._seen:
            self._seen.add(key)
            return run(x, states, mask, position)

        def call(tensors: Sequence[Tensor]) -> list[Tensor]:
            rest = iter(tensors[1 if mask is None else 2 :])
            before = [{name: next(rest) for name in layer} for layer in names]
            # a cast that autocast keeps for later would lie in memory that belongs to the recording
            with torch.autocast(x.device.type, dtype=kind[1], enabled=kind[0], cache_enabled=False):
                y, after = run(tensors[0], before, None if mask is None else tensors[1], position)
            return [y, *(layer[name] for layer, order in zip(after, names, strict=True) for name in order)]

        if key not in self._recorded:
            self._recorded[key] = Replayed(call, inputs, self._record)
        y, *rest = self._recorded[key](inputs)
        left = iter(rest)
        return y, [{name: next(left) for name in layer} for layer in names]
