"""Model and losses of one trial as one module: a batch in, the vector of losses out.

One forward per distinct view, shared by all losses that read it; a loss never calls the model.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import losses as loss_package
import models
from losses.catalogue import LOSSES, nearest
from losses.views import SUFFIX, caption_views, video_views
from sweep.runtime import ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from models.interface import VideoModel
    from sweep.settings.losses import TrialLoss

#: Clips by which a model is asked, before it trains, what it does with statistics.
CHECKED = 4
#: The primary loss unless a study names another one.
PRIMARY = "classification"


def loss_dims(model: VideoModel) -> dict[str, int]:
    """Sizes of a model's features, also under the names that losses use; 0 = not provided."""
    widths, words = model.widths, model.tokenizer
    return {
        **widths,
        "frames": widths.get("frames", 0),
        "video": widths.get("video", 0),
        "embed": widths.get("video_embed", 0),
        "word": widths.get("text_tokens", 0),
        "token": widths.get("tokens", 0),
        "vocabulary": 0 if words is None else words.size,
        "classes": widths.get("logits", 0),
        "time": model.clip.frames,
        "size_px": model.clip.size_px,
    }


class Learner(nn.Module):
    """The trained parts of a trial.

    Args:
        model: Provides the features.
        auxiliary: Loss name -> settings; the primary is added.
        seed: Initialises the parameters of the losses.
        label_smoothing: Of the classification loss.
        primary: The loss of the task itself.
        title: Name of the model, for messages.

    Attributes:
        names: Losses in the order of the returned vector: primary first, then sorted.
    """

    def __init__(
        self,
        model: VideoModel,
        auxiliary: Mapping[str, TrialLoss],
        *,
        seed: int,
        label_smoothing: float,
        primary: str = PRIMARY,
        title: str = "",
    ) -> None:
        super().__init__()
        self.title = title or type(model).__name__
        self.model: VideoModel = model
        self.names: tuple[str, ...] = (primary, *sorted(auxiliary))
        self.losses = nn.ModuleDict()
        self._functions: dict[str, Callable[..., Tensor]] = {}
        dims = loss_dims(model)
        for name in self.names:
            knobs: Mapping[str, Any] = auxiliary[name].knobs if name in auxiliary else {}
            if name == PRIMARY:
                knobs = {"label_smoothing": label_smoothing}
            built = loss_package.build(name, dims, **knobs)
            if isinstance(built, nn.Module):
                self.losses[name] = loss_package.initialise(built, seed, name)
            else:
                self._functions[name] = built
        self._is_checked = False
        self._needs = {name: sorted(LOSSES[name].needs) for name in self.names}
        self.teacher: VideoModel | None = None
        if "target" in video_views(self.names):
            self.teacher = copy.deepcopy(model).requires_grad_(False)

    def features(self, batch: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """Every feature that the named losses read, one forward per view.

        Each rank encodes its part of the batch; what is returned is of the whole batch.
        """
        mine = ranks.part(len(batch["labels"]))
        whole = {name: value for name, value in batch.items() if not name.startswith("pixels")}
        found = {name: value for name, value in batch.items() if name not in whole}
        if not self._is_checked and "pixels" in batch:
            self._check_statistics(batch["pixels"])
        for view in video_views(names):
            if view == "target":
                assert self.teacher is not None
                with torch.no_grad(), models.frozen_statistics(self.teacher):
                    made = self.teacher.encode_video(batch["pixels"])
            elif view == "a":
                made = self.model.encode_video(batch["pixels"])
            else:
                with models.frozen_statistics(self.model):
                    made = self.model.encode_video(batch[f"pixels{SUFFIX[view]}"])
            if not self._is_checked:
                self._check_frames(made)
            found |= {f"{name}{SUFFIX[view]}": value for name, value in made.items()}
        for view in caption_views(names):
            ids = batch[f"caption_ids{SUFFIX[view]}"][mine]
            made = self.model.encode_text(ids, batch["caption_mask"][mine])
            found |= {f"{name}{SUFFIX[view]}": value for name, value in made.items()}
        for name in names:
            for feature in self._needs[name]:
                if feature not in found and feature not in whole:
                    there = sorted({*found, *whole})
                    raise ValueError(
                        f"loss {name}: no feature '{feature}'{nearest(feature, there)} "
                        f"(there are: {', '.join(there)})"
                    )
        read = {feature for name in names for feature in self._needs[name]}
        return whole | {name: ranks.gather(found[name]) for name in sorted(read & found.keys())}

    def forward(self, batch: Mapping[str, Tensor], only: Sequence[str] | None = None) -> Tensor:
        """Unweighted losses, float32 ``(K,)``, in the order of ``names`` (or of ``only``).

        With ``only`` the forwards of views that no named loss reads are left out.
        """
        return torch.stack(self.separate(batch, only))

    def separate(
        self, batch: Mapping[str, Tensor], only: Sequence[str] | None = None
    ) -> list[Tensor]:
        """What :meth:`forward` stacks: one scalar per loss, each with a graph of its own."""
        names = self.names if only is None else tuple(only)
        features = self.features(batch, names)
        values = []
        for name in names:
            loss = self.losses[name] if name in self.losses else self._functions[name]
            given = {feature: features[feature] for feature in self._needs[name]}
            value = loss(**given)
            if not self._is_checked:
                _check_value(value, given, name)
            values.append(value)
        self._is_checked = self._is_checked or only is None
        return [value.float() for value in values]

    def _check_statistics(self, pixels: Tensor) -> None:
        """Normalisation learns from batches in training, and from those of view `a` alone.

        Asked of every cell, whatever views its losses read: one more forward of a few clips, which
        moves nothing of a model that is right, and no random numbers.
        """
        layers = [m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        fixed = sum(not m.training for m in layers) if self.model.training else 0
        alone = sum(m.running_mean is None for m in layers)  # whatever is frozen just now
        for count, what in (
            (fixed, "ignore the statistics of the batch in training (they are in evaluation mode)"),
            (alone, "keep no running statistics, so that a test would depend on its batch"),
        ):
            if count:
                raise ValueError(
                    f"model {self.title}: {count} of {len(layers)} batch-normalisation layers "
                    f"{what}; leave them to train() and eval(), with track_running_stats"
                )
        before = [buffer.clone() for buffer in self.model.buffers()]
        cards = [pixels.device] if pixels.is_cuda else []
        numbers, frozen = torch.random.fork_rng(cards), models.frozen_statistics(self.model)
        with numbers, torch.no_grad(), frozen:
            self.model.encode_video(pixels[:CHECKED])
        if any(
            not torch.equal(old, b) for old, b in zip(before, self.model.buffers(), strict=True)
        ):
            raise ValueError(
                f"model {self.title}: its buffers moved although batch statistics were frozen, as "
                "they are for every view but the first; normalise by torch's BatchNorm layers, or "
                "leave the running statistics alone inside models.frozen_statistics"
            )

    def _check_frames(self, made: Mapping[str, Tensor]) -> None:
        """One feature per frame of the clip."""
        frames, expected = made.get("frames"), self.model.clip.frames
        if frames is not None and frames.shape[1] != expected:
            raise ValueError(
                f"model {self.title}: the feature 'frames' has length {frames.shape[1]}, its "
                f"clips have {expected} frames; one feature per frame is expected (repeat or "
                "interpolate them along time)"
            )

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """EMA of the parameters; buffers (running statistics) are copied."""
        if self.teacher is None:
            return
        for mean, new in zip(self.teacher.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(new, 1 - decay)
        for old, now in zip(self.teacher.buffers(), self.model.buffers(), strict=True):
            old.copy_(now)

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Name -> parameter of everything that the inner optimiser moves."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def _check_value(value: Tensor, given: Mapping[str, Tensor], loss: str) -> None:
    """One number, through which a gradient reaches what the model made."""
    if not isinstance(value, Tensor) or value.ndim:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"loss {loss}: one number is expected, a tensor of shape (); got {got}")
    sources = {tensor.grad_fn for tensor in given.values() if tensor.grad_fn is not None}
    if not torch.is_grad_enabled() or not sources:
        return
    seen, left = set(), [value.grad_fn]
    while left:
        node = left.pop()
        if node in sources:
            return
        if node is not None and node not in seen:
            seen.add(node)
            left += [below for below, _ in node.next_functions]
    raise ValueError(
        f"loss {loss}: its value does not depend on the model: no gradient reaches "
        f"{', '.join(sorted(name for name, one in given.items() if one.grad_fn is not None))} "
        "(detach, no_grad, argmax or numpy on the way?)"
    )
