"""Stored outputs of published perturbation and robustness code against `perturb` and `sweep`."""

from __future__ import annotations

import io
import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perturb.apply import apply
from perturb.blur import disk, motion_blur_at
from perturb.camera import angles, rotate, window
from perturb.catalogue import PERTURBATIONS, SEVERITIES
from perturb.draws import Draws, draws_for
from perturb.video import quantiser_options
from sweep.metrics.agreement import flip_probability, rank_distance
from sweep.metrics.calibration import calibration
from sweep.metrics.robustness import (
    absolute_robustness,
    accuracy_line,
    corruption_error,
    effective_robustness,
    mean_performance,
    relative_corruption_error,
    relative_performance,
    relative_robustness,
    worst_condition,
    worst_perturbation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.conformance import Reader

PUBLISHED_NAMES = {"jumble": "jumbling", "box_jumble": "box_jumbling", "freeze": "freezing"}


# --------------------------------------------------------------------------------------- shared
def _clip(frames: np.ndarray) -> torch.Tensor:
    """(T, H, W, 3) as stored -> (1, T, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))[None]


def _frames(clip: torch.Tensor) -> np.ndarray:
    """(1, T, 3, H, W) or (T, 3, H, W) -> (T, H, W, 3) as stored."""
    return clip.reshape(-1, *clip.shape[-3:]).permute(0, 2, 3, 1).numpy()


def _clips(read: Reader) -> dict[str, np.ndarray]:
    """The clips that the files of a folder share, by shape name."""
    with np.load(read.folder / "perturb_clips.npz") as stored:
        return {name.removeprefix("clip_"): stored[name] for name in stored.files}


def _level(name: str, severity: int) -> dict[str, float]:
    return PERTURBATIONS[name].arguments(severity, "paper")


def _perturbed(name: str, frames: np.ndarray, severity: int) -> np.ndarray:
    made = apply(_clip(frames), name, severity, clip_ids=[0], ladder="paper")
    return _frames(made)


def _psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    error = np.mean((ours.astype(np.float64) - theirs) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def _judge_levels(
    read: Reader, name: str, ours: np.ndarray, shares: Mapping[int, float] | float
) -> None:
    """At most one grey level apart, and only a small share of the values (per severity)."""
    theirs = read.input(name)
    if ours.shape != theirs.shape:
        read.judge(name, np.inf, 1, f"shape {ours.shape}, stored {theirs.shape}")
        return
    apart = np.abs(ours.astype(int) - theirs.astype(int))
    read.judge(name, apart.max(), 1, "grey levels")
    for severity in SEVERITIES:
        allowed = shares if isinstance(shares, float) else shares[severity]
        differing = np.mean(apart[severity - 1] > 0)
        read.judge(name, differing, allowed, f"share that differs, severity {severity}")


def _outputs(read: Reader) -> list[tuple[str, np.ndarray]]:
    """Every `out_<shape>` with the clip it was made from."""
    sources = _clips(read)
    stored = [name for name in read.names if name.startswith("out_")]
    return [(name, sources[name.removeprefix("out_")]) for name in stored]


def _every_severity(read: Reader, name: str, stored: str, frames: np.ndarray) -> np.ndarray:
    """(severity, T, H, W, 3) of the frames that are stored: the first ones."""
    made = [_perturbed(name, frames, severity) for severity in SEVERITIES]
    return np.stack(made)[:, : read.input(stored).shape[1]]


# ---------------------------------------------------------------------------------------- pixels
def clips(read: Reader) -> None:
    for name in read.names:
        frames = read.input(name)
        assert frames.dtype == np.uint8
        assert frames.ndim == 4
        assert frames.shape[-1] == 3
        for perturbation in PERTURBATIONS:
            clean = _frames(apply(_clip(frames), perturbation, 0, clip_ids=[0]))
            read.compare(name, clean, note=f"{perturbation} at severity 0")


def jpeg(read: Reader) -> None:
    for name, frames in _outputs(read):
        ours = _every_severity(read, "jpeg", name, frames)
        if np.array_equal(ours, read.input(name)):
            read.compare(name, ours, note="bit by bit")
        else:  # another JPEG library
            for mine, theirs in zip(ours, read.input(name), strict=True):
                read.judge(name, 38 - _psnr(mine, theirs), 0, "dB below 38")


def defocus(read: Reader) -> None:
    shares = {1: 0.04, 2: 1e-3, 3: 1e-3, 4: 1e-3, 5: 1e-3}
    for name, frames in _outputs(read):
        _judge_levels(read, name, _every_severity(read, "defocus_blur", name, frames), shares)


def defocus_kernels(read: Reader) -> None:
    for severity in SEVERITIES:
        kernel = disk(**_level("defocus_blur", severity))
        read.compare(f"kernel_s{severity}", kernel, atol=1e-7)


def zoom(read: Reader) -> None:
    for name, frames in _outputs(read):
        _judge_levels(read, name, _every_severity(read, "zoom_blur", name, frames), 1e-3)


def motion_blur(read: Reader) -> None:
    degrees = read.input("angles")
    for name, frames in _outputs(read):
        count = read.input(name).shape[2]
        source = _clip(frames[:count])[0]
        ours = np.stack(
            [
                np.stack(
                    [
                        _frames(
                            motion_blur_at(
                                source,
                                torch.full((count,), angle, dtype=torch.float64),
                                **_level("motion_blur", severity),
                            )
                        )
                        for angle in degrees.tolist()
                    ]
                )
                for severity in SEVERITIES
            ]
        )
        _judge_levels(read, name, ours, 0.01)


def static_rotate(read: Reader) -> None:
    for name, frames in _outputs(read):
        read.compare(name, _every_severity(read, "static_rotation", name, frames))


def rotate_fixed(read: Reader) -> None:
    degrees = read.input("degrees")
    for name, frames in _outputs(read):
        source = _clip(frames[: read.input(name).shape[1]])[0]
        ours = [
            _frames(rotate(source, torch.full((1,), angle, dtype=torch.float64)))
            for angle in degrees.tolist()
        ]
        read.compare(name, np.stack(ours))


def translate(read: Reader) -> None:
    height, width = read.input("frame_size").tolist()
    frame = torch.arange(1, height * width + 1, dtype=torch.float64).view(height, width)
    for k, (top, left) in enumerate(read.input("offsets").tolist()):
        shape = read.input(f"shape_{k}").tolist()
        ours = window(frame, top, left, *shape)
        read.compare(f"shape_{k}", np.array(ours.shape))
        read.compare(f"sum_{k}", ours.sum())
        read.compare(f"rowcol_{k}", torch.stack([ours[:, 0], ours[0]]))


# ------------------------------------------------------------------------------------------ time
def temporal_indices(read: Reader) -> None:
    pattern = re.compile(r"(?P<op>\w+)_T(?P<frames>\d+)_s(?P<severity>\d)(_seed(?P<seed>\d+))?")
    for stored in read.names:
        found = pattern.fullmatch(stored)
        assert found is not None, stored
        name = PUBLISHED_NAMES.get(found["op"], found["op"])
        frames, severity = int(found["frames"]), int(found["severity"])
        function, level = PERTURBATIONS[name].load(), _level(name, severity)
        if found["seed"] is None:
            read.compare(stored, function(frames, fixed_length=False, **level))
            continue
        seed = int(found["seed"])
        if name != "freezing":
            read.compare(stored, function(frames, random.Random(seed), **level))
            continue
        shortened = function(frames, random.Random(seed), fixed_length=False, **level)
        read.compare(stored, shortened)
        whole = function(frames, random.Random(seed), **level)
        read.judge(stored, whole != [0] * shortened[0] + shortened, 0, "whole length")


# ---------------------------------------------------------------------------------------- chance
def noise(kind: str) -> Callable[[Reader], None]:
    """Check of one kind: moments and quantiles on flat grey and on a real clip."""
    name = f"{kind}_noise"

    def check(read: Reader) -> None:
        levels = read.input("levels").tolist()
        probabilities = read.input("quantile_probs")
        samples = int(read.input("n_samples"))
        # more samples than are stored, so that the difference is theirs alone
        side = 192
        frames = 4 * max(1, samples // (3 * side * side))
        made = {
            key: np.empty((len(SEVERITIES), len(levels)))
            for key in ("mean", "std", "frac0", "frac255", "chan_corr")
        }
        quantiles = np.empty((len(SEVERITIES), len(levels), len(probabilities)))
        for i, severity in enumerate(SEVERITIES):
            for j, grey in enumerate(levels):
                flat = torch.full((1, frames, 3, side, side), grey, dtype=torch.uint8)
                noisy = apply(flat, name, severity, clip_ids=[f"grey {grey}"], ladder="paper")
                histogram = torch.bincount(noisy.flatten().long(), minlength=256).double().numpy()
                _flat_statistics(made, quantiles, (i, j), histogram, probabilities)
                made["chan_corr"][i, j] = _correlation(noisy[0, :, 0], noisy[0, :, 1])
        stored_std = read.input("std")
        error = np.abs(made["mean"] - read.input("mean"))
        read.judge("mean", np.max(error / (0.1 + 7 * stored_std / np.sqrt(samples))), 1, "ratio")
        share = 0.05 if kind == "impulse" else 0.02
        error = np.abs(made["std"] - stored_std)
        read.judge("std", np.max(error / np.maximum(0.3, share * stored_std)), 1, "ratio")
        read.compare("frac0", made["frac0"], atol=0.005)
        read.compare("frac255", made["frac255"], atol=0.005)
        read.judge("chan_corr", np.abs(made["chan_corr"]).max(), 0.02, "ours")
        read.judge("chan_corr", np.abs(read.input("chan_corr")).max(), 0.02, "stored")
        error = np.abs(quantiles - read.input("quantiles")).max(axis=(1, 2))
        for i, severity in enumerate(SEVERITIES):
            # shot noise has few grey levels: a quantile may fall on the next one
            allowed = 255 / _level(name, severity)["photons"] + 1 if kind == "shot" else 2
            read.judge("quantiles", error[i], max(2, allowed), f"severity {severity}")
        _real_clip(read, name, probabilities)

    return check


def _flat_statistics(
    made: dict[str, np.ndarray],
    quantiles: np.ndarray,
    cell: tuple[int, int],
    histogram: np.ndarray,
    probabilities: np.ndarray,
) -> None:
    share = histogram / histogram.sum()
    grey = np.arange(256)
    mean = share @ grey
    made["mean"][cell] = mean
    made["std"][cell] = np.sqrt(share @ (grey - mean) ** 2)
    made["frac0"][cell], made["frac255"][cell] = share[0], share[255]
    quantiles[cell] = np.searchsorted(share.cumsum(), probabilities)


def _correlation(red: torch.Tensor, green: torch.Tensor) -> float:
    pair = torch.stack([red.flatten(), green.flatten()]).double()
    if (pair.std(dim=1) == 0).any():
        return 0.0
    return float(torch.corrcoef(pair)[0, 1])


def _real_clip(read: Reader, name: str, probabilities: np.ndarray) -> None:
    source = _clip(_clips(read)["square"])
    draws = int(read.input("clip_draws"))
    batch = source.expand(draws, -1, -1, -1, -1)
    allowed = 6 if name == "impulse_noise" else 2
    mean, std = np.empty(len(SEVERITIES)), np.empty(len(SEVERITIES))
    for i, severity in enumerate(SEVERITIES):
        noisy = apply(batch, name, severity, clip_ids=range(draws), ladder="paper")
        change = (noisy.short() - batch.short()).numpy()
        mean[i], std[i] = change.mean(), change.std()
        quantiles = np.quantile(change, probabilities)
        error = np.abs(quantiles - read.input("clip_diff_quantiles")[i]).max()
        read.judge("clip_diff_quantiles", error, allowed, f"severity {severity}")
    read.compare("clip_diff_mean", mean, atol=0.5)
    read.compare("clip_diff_std", std, rtol=0.02)


def random_stats(read: Reader) -> None:
    source = _clip(_clips(read)["square"][: int(read.input("n_frames"))])
    draws = int(read.input("n_draws"))
    batch = source.expand(draws, -1, -1, -1, -1)
    mean, std, size = (np.empty(len(SEVERITIES)) for _ in range(3))
    for i, severity in enumerate(SEVERITIES):
        blurred = apply(batch, "motion_blur", severity, clip_ids=range(draws), ladder="paper")
        change = (blurred.short() - batch.short()).numpy()
        mean[i], std[i], size[i] = change.mean(), change.std(), np.abs(change).mean()
    read.compare("motion_diff_std", std, rtol=0.1)
    read.compare("motion_abs_diff", size, rtol=0.1)
    stored = read.input("motion_diff_mean")
    allowed = np.maximum(0.6, 0.4 * np.abs(stored))
    read.judge("motion_diff_mean", np.max(np.abs(mean - stored) / allowed), 1, "ratio")
    count = int(read.input("rotate_draws"))
    for severity in SEVERITIES:
        draw: Draws = draws_for("random_rotation", severity, 0, 0)
        drawn = angles(draw, count, **_level("random_rotation", severity)).numpy()
        read.compare(f"rotate_deg_minmax_s{severity}", np.array([drawn.min(), drawn.max()]))
        read.compare(f"rotate_deg_std_s{severity}", drawn.std(), rtol=0.04)


# ---------------------------------------------------------------------------------------- codecs
def mpeg(read: Reader) -> None:
    frames = read.input("clip")
    read.input("fps")  # at a constant quantiser the rate changes nothing
    for encoder, name in {"mpeg2video": "mpeg1", "mpeg4": "mpeg2"}.items():
        made: dict[str, list[float]] = {
            key: [] for key in ("psnr", "mean", "std", "bytes", "previous")
        }
        previous = None
        stored_last = read.input(f"{encoder}_lastframe")
        for i, severity in enumerate(SEVERITIES):
            ours = _perturbed(name, frames, severity)
            options = quantiser_options(_level(name, severity)["quantiser"])
            same, size = _through_a_file(frames, encoder, options)
            assert np.array_equal(ours, same)
            change = ours.astype(np.float64) - frames
            made["psnr"].append(_psnr(ours, frames))
            made["mean"].append(change.mean())
            made["std"].append(change.std())
            made["bytes"].append(size / len(frames))
            made["previous"].append(0.0 if previous is None else _psnr(ours, previous))
            loss = 26.5 - _psnr(ours[-1], stored_last[i])
            read.judge(f"{encoder}_lastframe", loss, 0, f"dB below 26.5, severity {severity}")
            previous = ours
        read.compare(f"{encoder}_psnr", made["psnr"], atol=0.8)
        read.judge(f"{encoder}_psnr", max(np.diff(made["psnr"])), 0, "dB gained with severity")
        read.compare(f"{encoder}_diff_mean", made["mean"], atol=2)
        read.compare(f"{encoder}_diff_std", made["std"], rtol=0.08)
        read.compare(f"{encoder}_bytes_per_frame", made["bytes"], rtol=0.2)
        key = f"{encoder}_psnr_vs_previous_severity"
        read.judge(key, max(read.input(key) - made["previous"]), 2, "dB below the stored")


def _through_a_file(
    frames: np.ndarray, encoder: str, options: dict[str, str]
) -> tuple[np.ndarray, int]:
    """The frames (T, H, W, 3) read back from a file as the published code writes it; its bytes."""
    import av

    container, reader = {"mpeg2video": ("vob", "mpeg"), "mpeg4": ("avi", "avi")}[encoder]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as video:
        stream: Any = video.add_stream(encoder, 25, options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        context = stream.codec_context
        context.gop_size, context.max_b_frames, context.thread_count = 12, 0, 1
        for frame in frames:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        video.mux(stream.encode(None))
    size = file.getbuffer().nbytes
    file.seek(0)
    with av.open(file, "r", format=reader) as video:
        shown = [picture.to_ndarray(format="rgb24") for picture in video.decode(video=0)]
    return np.stack(shown), size


# --------------------------------------------------------------------------------------- metrics
def scores(read: Reader) -> None:
    """Robustness, corruption errors, flips, calibration and effective robustness."""
    exact = {"rtol": 1e-9, "atol": 1e-12}
    clean, perturbed = read.input("clean"), read.input("acc")
    over = clean[:, None, None, :]
    read.compare("gamma_a", absolute_robustness(over, perturbed), **exact)
    gamma = relative_robustness(over, perturbed)
    read.compare("gamma_r", gamma, **exact)
    top, first = perturbed[..., 0], clean[:, 0]
    errors = corruption_error(top, top[0])
    relative = relative_corruption_error(first, top, first[0], top[0])
    ours = {
        "CE": errors,
        "mCE": errors.mean(-1),
        "rel_CE": relative,
        "rel_mCE": relative.mean(-1),
        "mPC": mean_performance(top),
        "rPC": relative_performance(first, top),
        "worst_gamma_r_sevmean": worst_perturbation(gamma[..., 0]),
        "worst_gamma_r_any": worst_condition(gamma[..., 0]),
    }
    predictions, logits = read.input("preds"), read.input("rank_logits")
    for stored, against in (("sequential", "previous"), ("vs_first", "first")):
        ours[f"flip_prob_{stored}"] = flip_probability(predictions, against=against)
        ours[f"zipf_dist_{stored}"] = rank_distance(logits, against=against)
    ours["top5_dist_sequential"] = rank_distance(logits, kind="top5")
    found = calibration(read.input("probs"), read.input("labels"))
    ours |= {
        "ece15": found.ece,
        "mce15": found.mce,
        "ece15_adaptive": found.adaptive_ece,
        "rms_calib15": found.rms,
        "brier": found.brier,
        "nll": found.nll,
    }
    line = accuracy_line(read.input("er_pool_clean"), read.input("er_pool_shift"))
    model_clean, model_shift = read.input("er_model_clean"), read.input("er_model_shift")
    ours["er_slope"], ours["er_intercept"] = line.slope, line.intercept
    ours["effective_robustness"] = effective_robustness(model_clean, model_shift, line)
    for name, value in ours.items():
        read.compare(name, value, **exact)


FORMATS: dict[str, Callable[[Reader], None]] = {
    "perturb_clips": clips,
    "perturb_jpeg": jpeg,
    "perturb_defocus": defocus,
    "perturb_defocus_kernels": defocus_kernels,
    "perturb_zoom": zoom,
    "perturb_motion_blur": motion_blur,
    "perturb_static_rotate": static_rotate,
    "perturb_rotate_fixed": rotate_fixed,
    "perturb_translate": translate,
    "perturb_temporal_indices": temporal_indices,
    "perturb_noise_gaussian": noise("gaussian"),
    "perturb_noise_shot": noise("shot"),
    "perturb_noise_impulse": noise("impulse"),
    "perturb_noise_speckle": noise("speckle"),
    "perturb_random_stats": random_stats,
    "perturb_mpeg": mpeg,
    "perturb_metrics": scores,
}
