"""GLSCL's scores and losses against stored numbers of the published code."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from losses.auxiliary.glscl import Glscl
from losses.auxiliary.glscl_icl import glscl_icl
from losses.auxiliary.glscl_idl import glscl_idl
from losses.parts.concepts import (
    ConceptDecoder,
    concept_agreement,
    concept_gap,
    concept_similarity,
    diversity_hinge,
    mean_gram,
)
from losses.parts.pairs import row_nce

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def _tensor(read, name: str) -> Tensor:
    return torch.from_numpy(read.input(name).astype(np.float64))


def _number(read, name: str) -> float:
    return float(read.input(name))


def check_concepts(read) -> None:
    """The losses on given concepts, which the gradients take for free variables."""
    suffix = "_video_concepts"
    for case in (n.removesuffix(suffix) for n in read.names if n.endswith(suffix)):
        video = _tensor(read, f"{case}_video_concepts").requires_grad_()
        text = _tensor(read, f"{case}_text_concepts").requires_grad_()
        margin, beta, target = (
            _number(read, f"{case}_{name}") for name in ("margin", "icl_beta", "icl_target")
        )
        gram = mean_gram(video)
        read.compare(f"{case}_mean_video_gram", gram, **EXACT)
        one_way = diversity_hinge(gram, margin=margin)
        read.compare(f"{case}_idl_one_direction", one_way, **EXACT)
        diversity = glscl_idl(video_concepts=video, margin=margin)
        read.compare(f"{case}_idl_unweighted", diversity, **EXACT)
        (gradient,) = torch.autograd.grad(diversity, video)
        read.compare(f"{case}_grad_idl_video", gradient, **EXACT)
        read.compare(f"{case}_icl_mse_term", concept_gap(video, text), **EXACT)
        read.compare(f"{case}_icl_diag", concept_agreement(video, text), **EXACT)
        consistency = glscl_icl(video_concepts=video, text_concepts=text, beta=beta, target=target)
        read.compare(f"{case}_icl", consistency, **EXACT)
        gradients = torch.autograd.grad(consistency, (video, text))
        for side, gradient in zip(("video", "text"), gradients, strict=True):
            read.compare(f"{case}_grad_icl_{side}", gradient, **EXACT)
        read.compare(f"{case}_sim_local", concept_similarity(text, video), **EXACT)


def _load(decoder: ConceptDecoder, read, prefix: str) -> None:
    """Weights under the names of ``torch.nn.TransformerDecoder``."""
    for index, layer in enumerate(decoder.layers):
        stem = f"{prefix}.layers.{index}"
        for theirs, ours in (
            ("self_attn", layer.self_attention),
            ("multihead_attn", layer.cross_attention),
        ):
            for kind in ("weight", "bias"):
                packed = _tensor(read, f"{stem}.{theirs}.in_proj_{kind}").chunk(3)
                for part, value in zip(("query", "key", "value"), packed, strict=True):
                    getattr(getattr(ours, part), kind).data.copy_(value)
                out = _tensor(read, f"{stem}.{theirs}.out_proj.{kind}")
                getattr(ours.out, kind).data.copy_(out)
        for name in ("linear1", "linear2", "norm1", "norm2", "norm3"):
            for kind in ("weight", "bias"):
                value = _tensor(read, f"{stem}.{name}.{kind}")
                getattr(getattr(layer, name), kind).data.copy_(value)


def _module(read, width: int) -> Glscl:
    shared_queries = bool(_number(read, "query_share"))
    shared_decoder = bool(_number(read, "cross_att_share"))
    weights = "w__transformer_decoder_noun"
    module = Glscl(
        dims=dict.fromkeys(("embed", "frames", "word"), width),
        queries=len(read.input("w__spatial_queries")),
        layers=int(_number(read, "num_layers")),
        heads=int(_number(read, "nhead")),
        feedforward=len(read.input(f"{weights}.layers.0.linear1.weight")),
        share_queries=shared_queries,
        share_decoder=shared_decoder,
        mask_padding=bool(_number(read, "mask_padding")),
        temperature=_number(read, "temp"),
        local_weight=_number(read, "local_weight"),
        consistency=_number(read, "beta"),
        consistency_target=_number(read, "icl_target"),
        diversity=_number(read, "alpha"),
        diversity_margin=_number(read, "margin"),
    ).double()
    module.queries.weight.data.copy_(_tensor(read, "w__spatial_queries"))
    text_queries = _tensor(read, "w__noun_queries")
    if module.text_queries is not None:
        module.text_queries.weight.data.copy_(text_queries)
    module.scale.log_scale.data.copy_(_tensor(read, "log_logit_scale"))
    clip = "w__transformer_decoder_spatial"
    if module.text_decoder is None:  # the stored second decoder has no effect then
        _load(module.decoder, read, weights)
        for name in read.names:
            if name.startswith(clip):
                read.input(name)
    else:
        _load(module.text_decoder, read, weights)
        _load(module.decoder, read, clip)
    return module


def check_full(read) -> None:
    """Concepts, scores and the whole objective, with gradients."""
    video, text, pooled = (
        _tensor(read, name).requires_grad_() for name in ("video", "text", "cls")
    )
    module = _module(read, video.shape[-1])
    if int(_number(read, "B")) != len(video):
        raise ValueError("B is not the batch of the inputs")
    present, words = (torch.from_numpy(read.input(f"{n}_mask") > 0) for n in ("video", "text"))
    kept = (present, words) if module.mask_padding else (None, None)
    ours_video, ours_text = module.concepts(video, text, *kept)
    read.compare("video_concepts", ours_video, **EXACT)
    read.compare("text_concepts", ours_text, **EXACT)
    scores = module.score(pooled, video, ours_text, ours_video, present)
    local = concept_similarity(ours_text, ours_video)
    read.compare("sim_local", local, **EXACT)
    read.compare("sim_total", scores, **EXACT)
    for name in ("sim_global", "sim_global_eval"):
        read.compare(name, scores - module.local_weight * local, **EXACT)
    logits, pairs = module.scale() * scores, torch.ones(scores.shape, dtype=torch.bool)
    contrast = (row_nce(logits, pairs) + row_nce(logits.T, pairs)) / 2
    read.compare("loss_nce", contrast, **EXACT)
    diversity = module.diversity * glscl_idl(
        video_concepts=ours_video, margin=module.diversity_margin
    )
    read.compare("loss_idl_weighted", diversity, **EXACT)
    consistency = glscl_icl(
        video_concepts=ours_video,
        text_concepts=ours_text,
        beta=module.consistency,
        target=module.consistency_target,
    )
    read.compare("loss_icl", consistency, **EXACT)
    total = contrast + module.concept_terms(ours_video, ours_text)
    read.compare("loss_total", total, **EXACT)
    wanted = {
        "text": text,
        "cls": pooled,
        "video": video,
        "video_queries": module.queries.weight,
        "log_logit_scale": module.scale.log_scale,
    }
    gradients = torch.autograd.grad(total, list(wanted.values()), retain_graph=True)
    for name, gradient in zip(wanted, gradients, strict=True):
        read.compare(f"grad_total_{name}", gradient, **EXACT)
    (gradient,) = torch.autograd.grad(diversity, video)
    read.compare("grad_idl_video", gradient, **EXACT)


FORMATS = {"glscl_full": check_full, "glscl_concept_losses": check_concepts}
