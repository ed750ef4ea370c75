"""Corrupt video clips reproducibly: what exists is in the catalogue, `perturb.apply` does it.

A clip is uint8 RGB of shape (B, T, C, H, W), 0 to 255, before and after; scaling and normalisation
come later and belong to the model. Not here: which perturbations a model is tested under, and on
which clips (`sweep.evaluation`).
"""

from perturb.catalogue import (
    CATEGORIES,
    LADDERS,
    PAPER_CATEGORIES,
    PERTURBATIONS,
    PROFILES,
    SEVERITIES,
    Ladder,
    PerturbSpec,
    Profile,
)
from perturb.mixes import MIXES, Mix
from perturb.text_catalogue import TEXT_GROUPS, TEXT_PERTURBATIONS, VIDEO_TEXT_GRID, TextSpec

__all__ = [
    "CATEGORIES",
    "LADDERS",
    "MIXES",
    "PAPER_CATEGORIES",
    "PERTURBATIONS",
    "PROFILES",
    "SEVERITIES",
    "TEXT_GROUPS",
    "TEXT_PERTURBATIONS",
    "VIDEO_TEXT_GRID",
    "Ladder",
    "Mix",
    "PerturbSpec",
    "Profile",
    "TextSpec",
]
