"""Fully sharded training (FSDP): each process keeps a share of the parameters, their gradients and AdamW's averages.

``fully_shard`` of PyTorch puts the shares together when they are needed. The memories read their first weights from
outside of their layer's forward call (where a row begins, where a state is made), so parameters must be whole during
all of a step's segment: `Step` is the one module in whose forward call everything happens. The feed-forward layers
(40 % of the parameters of dna-base) see only their own input and are put together one at a time.

What is kept per process, in bytes per parameter of N processes: 16 / N between steps (weights, gradient, two averages;
16 without sharding), and during a step 4 to 8 more for what lies outside of the feed-forward layers.

Of the other ways, on a CPU with gloo (torch 2.13, lightning-fabric 2.6): Fabric's ``strategy="fsdp"`` refuses with
"FSDP is only available on GPU"; gloo has no reduction that multiplies, hence ``set_force_sum_reduction_for_comms``.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from titans_seq.config.sections import OptimiserSection
from titans_seq.models.layers import SwiGLU
from titans_seq.tasks import CarriedState, Trainable
from titans_seq.training.optimiser import build_optimiser
from titans_seq.training.ranks import Ranks

_log = logging.getLogger(__name__)


class Step(nn.Module):
    """The cost of one segment of every row; a plain call unless its parameters were shared out.

    Attributes
    ----------
    used
        Names of the parameters that the segments so far have read, where they were shared out.
    """

    def __init__(self, task: Trainable) -> None:
        super().__init__()
        self.task = task
        self.used: set[str] = set()
        self._shared = False

    def forward(
        self, segment: Any, state: CarriedState | None, device: torch.device
    ) -> tuple[Tensor, int, CarriedState]:
        """Reset the rows that begin anew, read, and give total cost, targets and the state behind."""
        if state is not None:
            state = state.reset(torch.as_tensor(segment.reset).to(device))
        found = self.task.cost(segment, state=state, device=device)
        return self._with_all(found.total) if self._shared else found.total, found.targets, found.state

    def share_out(
        self, optimiser: torch.optim.Optimizer, settings: OptimiserSection, ranks: Ranks
    ) -> torch.optim.AdamW:
        """Divide the parameters among the ranks; give an optimiser of the shares that goes on where the old stood."""
        module = self._module
        averages = {name: optimiser.state.get(parameter, {}) for name, parameter in module.named_parameters()}
        mesh = init_device_mesh(ranks.fabric.device.type, (ranks.world,))
        for layer in [part for part in module.modules() if isinstance(part, SwiGLU)]:
            fully_shard(layer, mesh=mesh)
        fully_shard(self, mesh=mesh)
        for part in self.modules():
            if isinstance(part, FSDPModule):
                # The loop divides by the global number of targets, so gradients are summed.
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(enable=True)
        self._shared = True
        kept = sum(parameter.to_local().numel() for parameter in module.parameters() if isinstance(parameter, DTensor))
        every = sum(parameter.numel() for parameter in module.parameters())
        _log.info("shared out: %s of %s parameters are kept here", f"{kept:,}", f"{every:,}")
        fresh = build_optimiser(module, settings)
        for name, parameter in module.named_parameters():
            assert isinstance(parameter, DTensor)
            for slot, value in averages[name].items():
                fresh.state[parameter][slot] = (
                    value if slot == "step" else distribute_tensor(value, parameter.device_mesh, parameter.placements)
                )
        return fresh

    def leave_unused(self, ranks: Ranks) -> None:
        """Take away the gradient of parameters that no rank's segment read, as where nothing is shared out."""
        named = list(self._module.named_parameters())
        counts = ranks.total(*(float(name in self.used) for name, _ in named))
        for (_, parameter), count in zip(named, counts, strict=True):
            if not count:
                parameter.grad = None
        self.used.clear()

    @property
    def _module(self) -> nn.Module:
        assert isinstance(self.task, nn.Module)
        return self.task

    def _with_all(self, total: Tensor) -> Tensor:
        """Make ``total`` depend on every parameter, since all ranks must send the same; note those that it reads."""
        leaves = _leaves(total)
        for name, parameter in self._module.named_parameters():
            if isinstance(parameter, DTensor) or id(parameter) in leaves:
                self.used.add(name)
            elif parameter.requires_grad:
                total = total + 0.0 * parameter.flatten()[0]
        return total


def working_copy(task: Trainable) -> Trainable:
    """What is shared out and trained in place of ``task``, which stays whole: shares cannot be put back into it."""
    return copy.deepcopy(task)


def whole(tensor: Tensor) -> Tensor:
    """Put the shares of a tensor together; all ranks must ask for the same ones in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _leaves(total: Tensor) -> set[int]:
    """Ids of the parameters that a tensor was computed from."""
    seen: set[Any] = set()
    found: set[int] = set()
    todo = [total.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        todo += [after for after, _ in node.next_functions]
    return found
