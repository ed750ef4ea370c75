"""What is trained: the model with its losses and their combiner, put together from a trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import losses
import models
from losses.catalogue import LOSSES, moving_targets, split_view
from losses.combine.catalogue import COMBINERS, held_out
from losses.views import data_features, needs_captions
from models.catalogue import HEADS
from sweep.evaluation.conditions import ladder
from sweep.runtime import ranks
from sweep.runtime.seeds import Seeds
from sweep.training.batches import Batches, Clips, encode_captions
from sweep.training.holdout import hold_out
from sweep.training.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import torch

    from losses.combine.meta import MetaOptimizer
    from models.interface import VideoModel
    from sweep.data.prepare import Prepared
    from sweep.settings.trial import TrialConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """Everything that a training needs besides its settings.

    Attributes:
        learner: The model with its losses.
        batches: Of the training clips.
        combiner: Makes one number of the losses.
        meta: Moves a combiner that is learned by meta steps; else None.
        judged_by: Batches of the clips kept out for those steps; None where there are none.
    """

    learner: Learner
    batches: Batches
    combiner: torch.nn.Module
    meta: MetaOptimizer | None
    judged_by: Batches | None


def assemble(
    config: TrialConfig,
    prepared: Prepared,
    tested_by: Collection[str],
    *,
    heads: Collection[str] = (),
    seeds: Seeds,
    device: torch.device,
) -> Assembled:
    """Model, losses, combiner and clips of a trial, on its device.

    Args:
        config: The trial.
        prepared: Its data.
        tested_by: See ``reads_captions``.
        heads: See ``build_model``.
        seeds: Of the trial.
        device: Of the model.

    Raises:
        ValueError: No captions for a loss that reads them; weights or a combiner that do not fit.
        FileNotFoundError: No file of the weights.
    """
    if reads_captions(config, tested_by) and not any(prepared.train.captions):
        raise ValueError(
            f"a loss of '{config.label}' needs captions, and the data set "
            f"'{config.data.dataset}' has none"
        )
    model = build_model(config, prepared, tested_by, heads=heads)
    if ranks.count() > 1:
        models.join_batchnorm(model, ranks.total, ranks.count())
    learner = Learner(
        model,
        config.losses,
        seed=seeds.losses,
        label_smoothing=config.train.label_smoothing,
        primary=config.primary,
        title=config.model.name,
    )
    learner.to(device)
    clips = training_clips(prepared, model)
    how: dict[str, Any] = {
        "settings": config.train,
        "device": device,
        "supervised": any("labels" in LOSSES[name].needs for name in learner.names),
        "ladder": ladder(config.evaluate),
    }
    judged_by = None
    judges = held_out(config.combiner.name, config.combiner.knobs)
    if share := judges or config.train.withheld_share:
        supervised = how["supervised"]
        clips, kept_out = hold_out(clips, share, seed=seeds.kept_out, supervised=supervised)
        if judges:
            needs = data_features((config.primary,))
            judged_by = Batches(kept_out, seed=seeds.judged, needs=needs, **how)
    batches = Batches(clips, seed=seeds.order, needs=data_features(learner.names), **how)
    combiner, meta = build_combiner(config, learner.names)
    combiner.to(device)
    return Assembled(
        learner=learner, batches=batches, combiner=combiner, meta=meta, judged_by=judged_by
    )


def training_clips(prepared: Prepared, model: VideoModel) -> Clips:
    """The training clips as a model takes them; those without a label for training have -1."""
    tokenizer = model.tokenizer
    count = len(prepared.train.ids)
    captions, said = np.zeros((count, 0, 0), dtype=np.int64), np.zeros((count, 0, 0), dtype=bool)
    if tokenizer is not None:
        captions, said = encode_captions(prepared.train.captions, tokenizer)
    return Clips(
        source=prepared.train.source,
        rows=np.arange(count),
        time=model.clip.frames,
        labels=np.where(prepared.labelled, prepared.train.labels, -1),
        captions=captions,
        said=said,
        hidden=None if tokenizer is None else tokenizer.mask,
    )


def reads_captions(config: TrialConfig, tested_by: Collection[str]) -> bool:
    """Whether the model of a trial needs a text tower: for its task, or for a loss.

    Args:
        config: The trial.
        tested_by: What its task reads of clips besides pixels: `labels`, `captions`.
    """
    return "captions" in tested_by or needs_captions((config.primary, *config.losses))


def build_model(
    config: TrialConfig,
    prepared: Prepared,
    tested_by: Collection[str],
    *,
    heads: Collection[str] = (),
) -> VideoModel:
    """The model of a trial, for the classes and words of its data, on the CPU.

    It has the head of classes, that of the space shared with captions if it reads any, those that
    a loss reads, and those of its task.

    Args:
        config: The trial.
        prepared: Its data.
        tested_by: See ``reads_captions``.
        heads: Of its task.

    Raises:
        ValueError, FileNotFoundError: As ``models.build``; the latter names the missing weights.
    """
    words = None
    if reads_captions(config, tested_by):
        told = (text for texts in prepared.train.captions for text in texts)
        words = models.tokenizer(config.model.name, told)
    read = {split_view(f)[0] for n in (config.primary, *config.losses) for f in LOSSES[n].needs}
    of_losses = [name for name, row in HEADS.items() if row.gives in read]
    named = ("classes", *(("joint",) if words is not None else ()), *of_losses, *heads)
    sizes = {"classes": max(1, len(prepared.class_names)), "words": words.size if words else 0}
    return models.build(
        config.model.name,
        heads={name: _outputs(name, sizes) for name in named},
        weights=config.model.weights,
        words=words,
        seed=Seeds.of(config.seed).model,
        size_px=config.data.size_px,
        **config.model.knobs,
    )


def _outputs(head: str, sizes: Mapping[str, int]) -> int:
    outputs = HEADS[head].outputs
    return outputs if isinstance(outputs, int) else sizes[outputs]


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
    losses.initialise(combiner, Seeds.of(config.seed).combiner, config.combiner.name)
    return combiner, MetaOptimizer(combiner, **meta_knobs) if spec.meta else None
