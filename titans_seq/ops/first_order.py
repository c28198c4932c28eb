"""Backward passes written by hand, which have no derivative of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from titans_seq.errors import ConfigError


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the backward pass of an autograd function: it refuses ``create_graph=True``, and runs outside autocast.

    `torch.autograd.function.once_differentiable` does not help `torch.autograd.grad` with ``inputs``: the part that
    cannot be differentiated again is left out there without a word, and what comes back is another number.

    Raises
    ------
    ConfigError
        A second derivative was asked for.
    """

    @wraps(backward)
    def guarded(ctx: Any, *bars: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise ConfigError(
                "no second derivative (create_graph=True) of a memory's fast forms; for one, build the model with "
                "backend='recurrent' and set TITANS_SEQ_NATIVE=0"
            )
        device = next((bar.device.type for bar in bars if bar is not None), "cpu")
        with torch.autocast(device, enabled=False):
            return backward(ctx, *bars)

    return guarded
