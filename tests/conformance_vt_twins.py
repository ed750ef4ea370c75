"""The contrastive loss over S2DTW and the temporal augmentation against stored numbers."""

from __future__ import annotations

import re

import numpy as np
import torch
import torch.nn.functional as F

from losses.auxiliary.s2dtw import contrast, similarities
from losses.parts.local_permutations import local_permutations, probabilities

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def _leaf(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float64)).requires_grad_()


def check_loss(read) -> None:
    """Similarities, loss, and its gradients before and after normalisation."""
    for case in sorted({m[0] for name in read.names if (m := re.match(r"c\d+_", name))}):
        names = ("num_clip", "gamma", "threshold")
        clips, gamma, threshold = (float(read.input(f"{case}{name}")) for name in names)
        raw = {name: _leaf(read.input(f"{case}{name}_raw")) for name in ("video", "text")}
        unit = {
            name: F.normalize(x, dim=-1).view(-1, int(clips), x.shape[1]) for name, x in raw.items()
        }
        logits = similarities(unit["video"], unit["text"], gamma=gamma, threshold=threshold)
        read.compare(f"{case}logits_text_row_video_col", logits, **EXACT)
        loss = contrast(logits)
        read.compare(f"{case}loss", loss, **EXACT)
        for name in raw:
            both = torch.autograd.grad(loss, (raw[name], unit[name]), retain_graph=True)
            for kind, gradient in zip(("raw", "norm"), both, strict=True):
                read.compare(f"{case}grad_{name}_{kind}", gradient, **EXACT)


def check_tda(read) -> None:
    """Which permutations there are, and how likely each is."""
    max_shift, scale = int(read.input("max_shift")), float(read.input("scale"))
    for name in read.names:
        if match := re.fullmatch(r"n(\d+)_(count|perms)", name):
            table = local_permutations(int(match[1]), max_shift)
            read.compare(name, len(table) if match[2] == "count" else np.array(table))
    for case in sorted({m[0] for name in read.names if (m := re.match(r"p\d+_", name))}):
        sequence = _leaf(read.input(f"{case}embd"))
        share, table = probabilities(sequence, max_shift=max_shift, scale=scale)
        read.compare(f"{case}perms", table)
        read.compare(f"{case}probs", share, **EXACT)


FORMATS = {"vt_twins_loss": check_loss, "vt_twins_tda": check_tda}
