"""A sum over the processes of a training job that gradients pass through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as job


def ranks() -> int:
    """Count the processes of this job; one outside of any."""
    return job.get_world_size() if job.is_available() and job.is_initialized() else 1


class SumOverRanks(torch.autograd.Function):
    """``y = sum_r x_r`` on every rank r. What is minimised is the sum of the ranks' costs, so dx_r = sum_s dy_s."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Send and receive."""
        summed = x.detach().clone()
        job.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Each rank's cost depends on every rank's x."""
        (gradient,) = gradients
        summed = gradient.contiguous().clone()
        job.all_reduce(summed)
        return summed
