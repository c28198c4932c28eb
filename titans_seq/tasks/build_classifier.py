"""Put a sequence classifier together from its configuration."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from titans_seq.config import TrainClassifierConfig
from titans_seq.models import Encoder
from titans_seq.tasks.base_context import BaseContext
from titans_seq.tasks.classify import SequenceClassifier
from titans_seq.tasks.sequence_front import ContextFront, ConvFront


def build_classifier(
    config: TrainClassifierConfig, *, n_classes: int, pretrained: Mapping[str, Tensor] | None = None
) -> SequenceClassifier:
    """Build a front, an encoder and a head.

    Parameters
    ----------
    pretrained
        Weights of a next-base model (`titans_seq.tasks.NextBase`) of the same ``model`` and ``input`` sections.
    """
    around, d_model = config.classifier, config.model.d_model
    front: nn.Module
    if around.front == "conv":
        front = ConvFront(
            d_model=d_model,
            width=around.width,
            stride=around.stride,
            layers=around.layers,
            parts=around.parts,
            dropout=around.dropout,
        )
    else:
        front = ContextFront(
            BaseContext(
                d_model=d_model,
                window=config.input.window,
                kmers=config.input.kmers,
                kmer_width=config.input.kmer_width,
            )
        )
    task = SequenceClassifier(
        front=front,
        encoder=Encoder(**config.model.arguments()),
        d_model=d_model,
        n_classes=n_classes,
        parts=around.parts,
        positions=around.positions or 0,
        content=around.content,
        both_ways=around.both_ways,
        reverse_complement=around.reverse_complement,
        dropout=around.dropout,
        mask_bases=around.mask_bases,
        smoothing=around.label_smoothing,
    )
    if pretrained is not None:
        for part, prefix in ((task.front, "context."), (task.encoder, "encoder.")):
            own = {name.removeprefix(prefix): value for name, value in pretrained.items() if name.startswith(prefix)}
            (part.context if isinstance(part, ContextFront) else part).load_state_dict(own)
    if around.frozen:
        task.freeze()
    return task
