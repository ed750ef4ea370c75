"""Measures of representations and of sets of losses against stored numbers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from losses import diversity
from losses.parts.normality import epps_pulley
from losses.parts.spread import covariance_penalty, standard_deviation_hinge
from sweep.metrics import representation

if TYPE_CHECKING:
    from collections.abc import Callable

FLOAT64 = {"rtol": 1e-6, "atol": 1e-9}
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}
IN_FLOAT32 = re.compile(r"sigreg|vicreg|temporal_sim")


def _rotation(dim: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]


def _values(read) -> dict[str, Callable[[], Any]]:
    def array(name: str) -> np.ndarray:
        return read.input(name).astype(np.float64)

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(array(name))

    x, y = array("X"), array("Y")
    weights, families = array("weights"), [int(f) for f in read.input("families")]
    cosines = array("gradcos")
    count = len(cosines)
    traj = diversity.trajectory_correlations(array("traj"))
    sigreg_x, directions = tensor("sigreg_x"), tensor("sigreg_dirs")
    vicreg, steps = tensor("vicreg_X"), tensor("temporal_seq")
    collapsed = torch.zeros(int(read.input("sigreg_collapsed_n")), sigreg_x.shape[1]).double()
    from losses.auxiliary.temporal_similarity import temporal_similarity

    found: dict[str, Callable[[], Any]] = {
        "cka_linear_biased": lambda: representation.linear_cka(x, y),
        "cka_linear_feature_form": lambda: representation.linear_cka(x, y),
        "cka_linear_unbiased": lambda: representation.unbiased_cka(x, y),
        "cka_self": lambda: representation.linear_cka(x, x),
        "cka_rotated_scaled": lambda: representation.linear_cka(x, 3 * x @ _rotation(x.shape[1])),
        "rankme_X": lambda: representation.rankme(x),
        "rankme_Y": lambda: representation.rankme(y),
        "rankme_lowrank2": lambda: representation.rankme(array("X_lowrank2")),
        "rankme_constant": lambda: representation.rankme(np.ones_like(x)),
        "erank_centered_X": lambda: representation.effective_rank(x),
        "lidar": lambda: representation.lidar(array("lidar_views")),
        "vendi_gradcos_clip": lambda: diversity.vendi(cosines, shifted=True),
        "vendi_gradcos_raw": lambda: diversity.vendi(cosines),
        "vendi_identity": lambda: diversity.vendi(np.eye(count)),
        "vendi_ones": lambda: diversity.vendi(np.ones((count, count))),
        "vendi_q2": lambda: diversity.vendi(cosines, order=2),
        "vendi_qinf": lambda: diversity.vendi(cosines, order=math.inf),
        "vendi_weighted": lambda: diversity.vendi(cosines, weights),
        "mean_pairwise_1_minus_cos": lambda: diversity.pair_distance(cosines),
        "weighted_pairwise_1_minus_cos": lambda: diversity.pair_distance(cosines, weights),
        "conflict_rate": lambda: diversity.conflict_rate(cosines),
        "rao_q": lambda: diversity.rao_q(cosines, weights),
        "family_count": lambda: len(set(families)),
        "family_entropy": lambda: diversity.group_entropy(families),
        "family_entropy_weighted": lambda: diversity.group_entropy(families, weights),
        "traj_mean_1_minus_corr": lambda: diversity.pair_distance(traj),
        "traj_vendi": lambda: diversity.vendi(traj),
        "sigreg_mean": lambda: epps_pulley(sigreg_x, directions).mean(),
        "sigreg_collapsed": lambda: epps_pulley(collapsed, directions).mean(),
        "vicreg_std_hinge": lambda: standard_deviation_hinge(vicreg),
        "vicreg_cov_offdiag_mean": lambda: covariance_penalty(vicreg, per_pair=True),
        "vicreg_cov_sum_over_d": lambda: covariance_penalty(vicreg),
        "vicreg_inv_mse": lambda: (vicreg - tensor("vicreg_Xpos")).square().mean(),
        "temporal_sim": lambda: temporal_similarity(frames=steps.transpose(0, 1)),
    }
    for table in (diversity.weight_measures(weights), diversity.dpp_measures(cosines)):
        for name, value in table.items():
            found[name] = lambda value=value: value
    positive = array("X_pos")
    for name in read.names:
        if match := re.fullmatch(r"out/(mutual_knn_|cknna_|align_alpha|uniformity_t)(.+)", name):
            kind, setting = match[1], float(match[2])
            found[name.removeprefix("out/")] = {
                "mutual_knn_": lambda n=setting: representation.mutual_knn(x, y, int(n)),
                "cknna_": lambda n=setting: representation.cknna(x, y, int(n)),
                "align_alpha": lambda n=setting: representation.alignment(x, positive, n),
                "uniformity_t": lambda n=setting: representation.uniformity(x, n),
            }[kind]
    return found


def check(read) -> None:
    """Every measure; the cosines themselves and the statistic of each direction too."""
    values = _values(read)
    cosines, _ = diversity.gradient_cosines(read.input("G"))
    read.compare("gradcos", cosines, **FLOAT64)
    statistic = epps_pulley(
        torch.from_numpy(read.input("sigreg_x").astype(np.float64)),
        torch.from_numpy(read.input("sigreg_dirs").astype(np.float64)),
    )
    read.compare("sigreg_stats", statistic, **FLOAT32)
    for name in read.names:
        if name.startswith("out/"):
            short = name.removeprefix("out/")
            tolerance = FLOAT32 if IN_FLOAT32.match(short) else FLOAT64
            if short.startswith("mutual_knn"):
                tolerance = {"rtol": 0.0, "atol": 1e-6}
            read.compare(name, values[short](), **tolerance)


FORMATS = {"repr_metrics": check}
