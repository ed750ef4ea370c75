"""What is trained: the model with its losses and their combiner, put together from a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

import losses
import models
from losses.catalogue import moving_targets
from losses.combine.catalogue import COMBINERS
from losses.views import needs_captions
from models.words import Vocabulary
from sweep.runtime.seeds import stream

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from losses.combine.meta import MetaOptimizer
    from models.interface import VideoModel
    from sweep.data.prepare import Prepared
    from sweep.settings.trial import TrialConfig


#: Width of the space that clips share with captions.
JOINT_WIDTH = 64


def reads_captions(config: TrialConfig, tested_by: Collection[str]) -> bool:
    """Whether the model of a trial needs a text tower: for its task, or for a loss.

    Args:
        config: The trial.
        tested_by: What its task reads of clips besides pixels: `labels`, `captions`.
    """
    return "captions" in tested_by or needs_captions((config.primary, *config.losses))


def build_model(config: TrialConfig, prepared: Prepared, tested_by: Collection[str]) -> VideoModel:
    """The model of a trial, for the classes and words of its data, on the CPU.

    Args:
        config: The trial.
        prepared: Its data.
        tested_by: See ``reads_captions``.

    Raises:
        ValueError, FileNotFoundError: As ``models.build``; the latter names the missing weights.
    """
    heads = {"classes": max(1, len(prepared.class_names))}
    words = None
    if reads_captions(config, tested_by):
        heads["joint"] = JOINT_WIDTH
        words = vocabulary_of(prepared)
    return models.build(
        config.model.name,
        heads=heads,
        weights=config.model.weights,
        words=words,
        seed=stream(config.seed, "model"),
        size_px=config.data.size_px,
        **config.model.knobs,
    )


def build_combiner(
    config: TrialConfig, names: tuple[str, ...]
) -> tuple[torch.nn.Module, MetaOptimizer | None]:
    """The combiner of a trial and, for one that is learned by meta steps, its optimiser.

    Raises:
        ValueError: Finite differences for a loss whose derivative they do not see.
    """
    from losses.combine.meta import MetaOptimizer

    spec = COMBINERS[config.combiner.name]
    knobs = {**spec.knobs, **config.combiner.knobs}
    held = moving_targets(names)
    if spec.meta and knobs["method"] == "fd" and held:
        raise ValueError(
            f"combiner {spec.name}: method fd cannot be used with {', '.join(held)}, which hold a "
            "feature fixed that the trained weights make: a difference moves it nevertheless (use "
            "jvp, loop or auto)"
        )
    weights = {config.primary: 1.0} | {n: s.weight for n, s in config.losses.items()}
    # a combiner that is not taught by meta steps may have a knob of the same name as one of theirs
    theirs = MetaOptimizer.KNOBS if spec.meta else ()
    meta_knobs = {k: knobs.pop(k) for k in list(knobs) if k in theirs}
    combiner = spec.load()(names=names, primary=config.primary, weights=weights, **knobs)
    losses.initialise(combiner, stream(config.seed, "combiner"), config.combiner.name)
    return combiner, MetaOptimizer(combiner, **meta_knobs) if spec.meta else None


def vocabulary_of(prepared: Prepared) -> Vocabulary:
    """The words of the training captions."""
    return Vocabulary.of(text for texts in prepared.train.captions for text in texts)
