"""Objectives on latents of a masked video against stored numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

import losses
from losses.auxiliary.factorised import cross_covariance, static_error
from losses.auxiliary.hard_region import hard_region_error
from losses.auxiliary.jepa_context import context_coefficient, root_distance
from losses.auxiliary.kinematic import annealed
from losses.auxiliary.spectral import spectrum_error
from losses.masks.blocks import BlockMasks, block_size, draw_block_masks
from losses.masks.motion import MaskPolicy, motion_map, origin_probabilities, origins
from losses.parts.latents import split_channels, visible_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}


class Case:
    """One file: latents on the grid, once per mask type."""

    def __init__(self, read) -> None:
        self.read = read
        batch, _, _, _, _, *grid, dim = (int(n) for n in read.input("grid"))
        self.grid, self.dim = tuple(grid), dim
        self.shape = (batch, *grid)
        self.target = self.on_grid(self.tensor("h"))
        # theirs are compared as they are, ours in units of .25 around .5
        self.pixels = self.tensor("clip").transpose(1, 2) * 0.25 + 0.5
        types = [int(m[1]) for n in read.names if (m := re.fullmatch(r"mask(\d+)_ctx", n))]
        self.types = [self.mask_type(i) for i in sorted(types)]

    def tensor(self, name: str) -> Tensor:
        array = self.read.input(name)
        return torch.from_numpy(array if array.dtype.kind == "i" else array.astype(np.float64))

    def on_grid(self, tokens: Tensor, index: Tensor | None = None) -> Tensor:
        """``(B, N, D)`` tokens, or those at ``index``, at their cells; 0 elsewhere."""
        batch, cells = self.shape[0], int(np.prod(self.grid))
        if index is None:
            index = torch.arange(cells).expand(batch, -1)
        full = torch.zeros(batch, cells, tokens.shape[-1], dtype=torch.float64)
        full.scatter_(1, index.unsqueeze(-1).expand_as(tokens), tokens)
        return full.view(*self.shape, -1)

    def chosen(self, index: Tensor) -> Tensor:
        flat = torch.zeros(self.shape[0], int(np.prod(self.grid)), dtype=torch.bool)
        return flat.scatter_(1, index, True).view(self.shape)

    def mask_type(self, i: int) -> dict[str, Tensor]:
        context, predicted = self.tensor(f"mask{i}_ctx"), self.tensor(f"mask{i}_pred")
        at_context = self.on_grid(self.tensor(f"z_ctx{i}"), context)
        at_predicted = self.on_grid(self.tensor(f"z_pred{i}"), predicted)
        chosen = self.chosen(predicted).unsqueeze(-1)
        return {
            "context": context,
            "frames_masked": self.on_grid(self.tensor(f"z_enc{i}"), context),
            "frame_mask": ~self.chosen(context),
            "prediction_mask": self.chosen(predicted),
            "predictions": torch.where(chosen, at_predicted, at_context),
            "frames_target": self.target,
            "pixels": self.pixels,
        }

    def mean(
        self,
        loss: Callable[[dict[str, Tensor]], Tensor],
        *,
        paired: bool = False,
        throughout: bool = False,
    ) -> Tensor:
        """Mean over mask types.

        With ``paired`` those without a visible pair do not count, with ``throughout`` those
        without a place that is visible at every step.
        """
        usable = [
            t
            for t in self.types
            if not (paired and not visible_pairs(t["frame_mask"]).any())
            and not (throughout and not (~t["frame_mask"]).all(1).any())
        ]
        if not usable:
            return torch.zeros((), dtype=torch.float64)
        return torch.stack([loss(one) for one in usable]).mean()

    def of(self, name: str, *, head: str | None = None, paired: bool = True, **knobs) -> Tensor:
        """A loss of the catalogue, with the stored weights of ``head``."""
        spec = losses.LOSSES[name]
        if "normalise" in spec.knobs:
            knobs["normalise"] = False  # stored targets are
        weights = None
        if head is not None:
            weights = self.weights(head)
            knobs["hidden"] = len(weights["0.bias"])
        built = losses.build(name, {"frames": self.dim, "time": self.grid[0]}, **knobs)
        if isinstance(built, nn.Module):
            built.double().predict.load_state_dict(weights)
        return self.mean(lambda one: built(**{n: one[n] for n in spec.needs}), paired=paired)

    def weights(self, head: str) -> dict[str, Tensor]:
        names = [name for name in self.read.names if name.startswith(f"{head}.")]
        return {name.removeprefix(f"{head}."): self.tensor(name) for name in names}

    def hamiltonian(self) -> Tensor:
        weights = self.weights("ham.net")
        hidden = len(weights["0.bias"])
        built = losses.build("hamiltonian", {"frames": self.dim}, hidden=hidden, normalise=False)
        built.double()
        layers = {"first": "0", "second": "2", "energy": "4"}
        state = {
            f"{ours}.{kind}": weights[f"{theirs}.{kind}"]
            for ours, theirs in layers.items()
            for kind in ("weight", "bias")
            if (ours, kind) != ("energy", "bias")  # a constant of the energy has no effect
        }
        built.load_state_dict(state)
        names = losses.LOSSES["hamiltonian"].needs
        return self.mean(lambda one: built(**{n: one[n] for n in names}), paired=True)

    def hard(self, temperature: float) -> Tensor:
        return self.mean(
            lambda one: hard_region_error(
                one["predictions"],
                self.target,
                one["prediction_mask"],
                temperature=temperature,
            )
        )

    def factors(self, ratio: float) -> tuple[Tensor, Tensor]:
        static, moving = split_channels(self.dim, ratio)

        def change(one: dict[str, Tensor]) -> Tensor:
            return static_error(one["frames_masked"], one["frame_mask"], static)

        def covariance(one: dict[str, Tensor]) -> Tensor:
            return cross_covariance(one["frames_masked"], one["frame_mask"], static, moving)

        return self.mean(change, paired=True), self.mean(covariance, paired=True)

    def has_gradient(self, **knobs) -> float:
        for one in self.types:
            one["frames_masked"].requires_grad_()
        value = self.of("latent_dynamics", head="dyn", **knobs)
        found = torch.autograd.grad(value, [one["frames_masked"] for one in self.types])
        for one in self.types:
            one["frames_masked"].requires_grad_(False)
        return float(any(bool(g.any()) for g in found))


def _number(name: str, prefix: str) -> float:
    return float(name.removeprefix(prefix))


def _value(case: Case, name: str) -> Tensor | float:
    """Our value of the stored output ``name``."""
    both = {"hard": True, "temperature": 1.0}
    fixed: dict[str, Callable[[], Tensor | float]] = {
        "pred_l1": lambda: case.of("jepa_prediction", paired=False),
        "pred_exp2": lambda: case.of("jepa_prediction", paired=False, exponent=2.0),
        "context_weighted": lambda: case.of("jepa_context", paired=False),
        "context_unweighted": lambda: case.of("jepa_context", paired=False, weighted=False),
        "lambda_at_itr0": lambda: context_coefficient(0, start=15000, end=30000),
        "hamiltonian": case.hamiltonian,
        "delta": lambda: case.of("delta"),
        "fwm_static": lambda: case.factors(0.5)[0],
        "fwm_orth": lambda: case.factors(0.5)[1],
        "spectral": lambda: case.mean(
            lambda one: spectrum_error(one["frames_masked"], case.target, ~one["frame_mask"]),
            throughout=True,
        ),
        "ld": lambda: case.of("latent_dynamics", head="dyn"),
        "ld_requires_grad": lambda: case.has_gradient(),
        "ld_hw": lambda: case.of("latent_dynamics", head="dyn", **both),
        "ld_hw_requires_grad_in_reference": lambda: case.has_gradient(**both, detached=True),
        "ld_fwm": lambda: case.of("latent_dynamics", head="dyn_fwm", inputs="dynamics"),
        "ld_fwm_hw": lambda: case.of("latent_dynamics", head="dyn_fwm", inputs="dynamics", **both),
        "ac": lambda: case.of("pixel_delta", head="act"),
        "fac": lambda: case.of("pixel_delta", head="act_fac", inputs="dynamics"),
    }
    if name in fixed:
        return fixed[name]()
    if name == "total_fwm_hw_ld_itr0":
        static, orthogonal = case.factors(0.5)
        parts = [_value(case, part) for part in ("pred_l1", "ld_fwm_hw")]
        return sum(parts) + case.hard(1.0) + 0.05 * static + 0.01 * orthogonal
    kinematic = {"kin_l1": "l1", "kin_acceleration": "acceleration", "kin_huber": "huber"}
    if name in kinematic:
        return losses.build("kinematic", {}, form=kinematic[name])(frames=case.target)
    families: dict[str, Callable[[float], Tensor | float]] = {
        "lambda_": lambda n: context_coefficient(n, start=15000, end=30000),
        "hw_temp": case.hard,
        "velgate_p": lambda n: case.of("velocity_gate", percentile=n),
        "ltc_m": lambda n: case.of("temporal_contrast", margin=n),
        "fwm_static_r": lambda n: case.factors(n)[0],
        "fwm_orth_r": lambda n: case.factors(n)[1],
        "kin_accel_split": lambda n: losses.build("kinematic", {}, form="split", ratio=n)(
            frames=case.target
        ),
        "kin_anneal_coeff_ep": lambda n: annealed(0.1, n / 100),
    }
    prefix = next(p for p in families if name.startswith(p))
    return families[prefix](_number(name, prefix))


def check_aux(read) -> None:
    """Every objective, the distances of the context loss, the motion map."""
    case = Case(read)
    for i, one in enumerate(case.types):
        weight = root_distance(one["prediction_mask"]).flatten(1)
        read.compare(f"ctx_dist_sqrt{i}", weight.gather(1, one["context"]), **FLOAT32)
    for name in read.names:
        if name.startswith("out/"):
            read.compare(name, _value(case, name.removeprefix("out/")), **FLOAT32)
    if "motion/video" in read.names:
        video = case.tensor("motion/video").float()
        stored = read.input("motion/map").shape[1:]
        motion = motion_map(video, stored)
        read.compare("motion/map", motion, **FLOAT32)
        block = tuple(int(n) for n in read.input("motion/block_thw"))
        read.compare("motion/origins", origins(stored, block))
        share = origin_probabilities(motion, block, MaskPolicy(strength=2.0))
        read.compare("motion/prob_strength2", share[0], **FLOAT32)


def check_masks(read) -> None:
    """Block sizes, token counts and their spread, and the cells of the first batch."""
    seed = int(read.input("global_seed"))
    for name in sorted({name.partition("/")[0] for name in read.names if "/" in name}):
        _check_setting(read, name, seed)


def _check_setting(read, name: str, seed: int) -> None:
    _, _, *values = (float(v) for v in read.input(f"{name}/params"))
    spatial, temporal, aspect = (tuple(values[i : i + 2]) for i in (0, 2, 4))
    settings = BlockMasks(
        blocks=int(values[6]),
        spatial=spatial,
        temporal=temporal,
        aspect=aspect,
        max_temporal_keep=values[7],
        max_keep=None if values[8] < 0 else int(values[8]),
        full_complement=bool(values[9]),
    )
    *grid, batch, steps = (int(n) for n in read.input(f"{name}/grid"))
    cells = int(np.prod(grid))
    rng = torch.Generator().manual_seed(seed)
    drawn = [draw_block_masks(tuple(grid), batch, settings, step, rng) for step in range(steps)]
    sizes = [block_size(tuple(grid), settings, step) for step in range(steps)]
    read.compare(f"{name}/block_size_thw", sizes)
    for i, part in enumerate(("ctx", "pred")):
        counts = np.array([pair[i].shape[1] for pair in drawn])
        read.compare(f"{name}/n_{part}", counts)
        spread = ((counts / cells).mean(), (counts / cells).std())
        read.compare(f"{name}/{part}_ratio_mean_std", spread, rtol=1e-6, atol=1e-9)
        read.compare(f"{name}/first_{part}", drawn[0][i])
    overlap = max(
        int(np.isin(seen, predicted).sum())
        for pair in drawn
        for seen, predicted in zip(*(part.numpy() for part in pair), strict=True)
    )
    read.compare(f"{name}/max_overlap", overlap)


FORMATS = {"jepa_aux": check_aux, "jepa_masks": check_masks}
