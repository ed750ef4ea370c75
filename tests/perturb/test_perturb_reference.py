"""The fast forms against slow ones written frame by frame and pixel by pixel."""

import io
import itertools
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from perturb import PERTURBATIONS, SEVERITIES
from perturb.apply import apply
from perturb.blur import disk, motion_blur_at
from perturb.camera import angles, offsets, rotate, shift, window
from perturb.digital import jpeg
from perturb.draws import Draws, draws_for
from perturb.noise import gaussian_noise, impulse_noise, normal_numbers, pepper_noise
from perturb.spatter import _distance
from perturb.video import quantiser_options, recode

SHAPES = [(24, 24), (19, 30), (33, 21)]


def picture(height, width, frames=2, seed=0):
    """Random and flat areas, (frames, 3, H, W) uint8."""
    generator = torch.Generator().manual_seed(seed)
    size = (frames, 3, height, width)
    out = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    out[:, :, : height // 2, : width // 2] = 77
    return out


def run(name, clip, severity, ladder="paper"):
    return apply(clip[None], name, severity, clip_ids=["c"], ladder=ladder)[0]


def shares(ours, reference):
    """Largest difference, and share of values that differ."""
    apart = np.abs(ours.numpy().astype(int) - reference.astype(int))
    return apart.max(), np.mean(apart > 0)


# ---------------------------------------------------------------------------------------- blur
def slow_motion(plane, degrees, radius, sigma):
    height, width = plane.shape
    taps = range(2 * math.ceil(radius) + 1)
    weights = np.array([math.exp(-(i**2) / (2 * sigma**2)) for i in taps])
    weights /= weights.sum()
    radians = math.radians(degrees)
    out = np.zeros_like(plane)
    for y in range(height):
        for x in range(width):
            total = 0.0
            for i, weight in zip(taps, weights, strict=True):
                column = min(max(x + math.ceil(i * math.cos(radians) - 0.5), 0), width - 1)
                row = min(max(y + math.ceil(i * math.sin(radians) - 0.5), 0), height - 1)
                total += weight * plane[row, column]
            out[y, x] = int(total + 1e-3)
    return out


@pytest.mark.parametrize("degrees", [-45.0, -13.7, 0.0, 31.0, 45.0])
def test_motion_blur(degrees):
    frame = picture(14, 17, frames=1)
    level = PERTURBATIONS["motion_blur"].arguments(3, "paper")
    ours = motion_blur_at(frame, torch.tensor([degrees], dtype=torch.float64), **level)
    slow = np.stack([slow_motion(plane, degrees, **level) for plane in frame[0].numpy()])
    worst, share = shares(ours[0], slow)
    assert worst <= 1
    assert share <= 0.01


def test_motion_blur_by_gathering_equals_slicing():
    from perturb.blur import _trail_gathered, _trail_sliced

    frames = picture(15, 18, frames=3)
    taps = np.arange(11)
    weights = np.exp(-taps / 5) / np.exp(-taps / 5).sum()
    slope = np.array([[-0.9], [0.0], [0.5]])
    down = np.ceil(taps * slope - 0.5).astype(int)
    right = np.ceil(taps * 0.8 - 0.5).astype(int)[None].repeat(3, 0)
    sliced = _trail_sliced(frames, right, down, weights)
    worst, share = shares(_trail_gathered(frames, right, down, weights), sliced.numpy())
    assert worst <= 1
    assert share <= 0.001


def slow_zoom(plane, factors):
    height, width = plane.shape
    total = plane.astype(np.float64)
    for z in factors:
        total += slow_magnified(plane, z, height, width)
    return np.floor(np.clip(total / (len(factors) + 1) + 1e-9, 0, 255))


def slow_magnified(plane, z, height, width):
    rows, columns = math.ceil(height / z), math.ceil(width / z)
    top, left = (height - rows) // 2, (width - columns) // 2
    crop = plane[top : top + rows, left : left + columns].astype(np.float64)
    m, n = round(rows * z), round(columns * z)

    def along(values, size):
        if size == len(values):
            return values
        position = np.arange(size) * (len(values) - 1) / (size - 1)
        low = np.minimum(position.astype(int), max(len(values) - 2, 0))
        part = (position - low)[:, None]
        return values[low] * (1 - part) + values[low + 1] * part

    large = along(along(crop, m).T, n).T
    y, x = (m - height) // 2, (n - width) // 2
    return large[y : y + height, x : x + width]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_zoom_blur(shape, severity):
    frame = picture(*shape, frames=1)
    stop, step = PERTURBATIONS["zoom_blur"].levels["paper"][severity - 1]
    slow = np.stack([slow_zoom(p, np.arange(1, stop, step)) for p in frame[0].numpy()])
    worst, share = shares(run("zoom_blur", frame, severity)[0], slow)
    assert worst <= 1
    assert share <= 0.005  # flat areas: double precision sits on either side of a grey level


def test_zoom_factors_are_counted_as_published():
    counts = [len(np.arange(1, *level)) for level in PERTURBATIONS["zoom_blur"].levels["paper"]]
    assert counts == [12, 16, 11, 13, 11]
    largest = [np.arange(1, *level)[-1] for level in PERTURBATIONS["zoom_blur"].levels["small"]]
    assert np.allclose(largest, [1.2, 1.3, 1.4, 1.5, 1.6])


@pytest.mark.parametrize("shape", [(24, 24), (14, 30)])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_defocus_blur(shape, severity):
    frame = picture(*shape, frames=1)
    kernel = disk(*PERTURBATIONS["defocus_blur"].levels["paper"][severity - 1]).numpy()
    half = len(kernel) // 2
    if min(shape) <= half:
        pytest.skip("too small to reflect the whole kernel")
    slow = np.zeros_like(frame[0].numpy())
    for channel, plane in enumerate(frame[0].numpy()):
        padded = np.pad(plane / 255, half, mode="reflect")
        views = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
        result = (views * kernel.astype(np.float64)).sum((-1, -2))
        slow[channel] = np.clip(result, 0, 1) * 255
    worst, share = shares(run("defocus_blur", frame, severity)[0], slow)
    assert worst <= 1
    assert share <= 0.003


def test_gaussian_blur_keeps_flat_grey_and_spreads_a_point():
    flat = torch.full((1, 3, 20, 20), 93, dtype=torch.uint8)
    assert torch.equal(run("gaussian_blur", flat, 5), flat)
    point = torch.zeros(1, 3, 21, 21, dtype=torch.uint8)
    point[..., 10, 10] = 255
    blurred = run("gaussian_blur", point, 3)[0, 0]
    assert blurred.argmax() == 10 * 21 + 10
    assert int(blurred[10, 10]) == int(255 / (2 * math.pi) + 1e-3)  # sigma 1
    assert torch.equal(blurred, blurred.T)
    assert torch.equal(blurred, blurred.flip(0))


def test_glass_moves_pixels_as_the_published_loop_does():
    from perturb.blur import gaussian_blur, glass_blur

    frame = picture(13, 17, frames=2)
    draw = draws_for("glass_blur", 3, "c", 0)
    reach, rounds, height, width = 2, 3, 13, 17
    moves = torch.randint(
        -reach, reach, (rounds, 2, (height - 2 * reach) * (width - 2 * reach)),
        generator=draw.numbers(),
    )  # fmt: skip
    slow = gaussian_blur(frame[None], sigma=1.0)[0].permute(0, 2, 3, 1).numpy()
    for one in slow:
        for right, down in moves.numpy():
            steps = iter(zip(right, down, strict=True))
            for h in range(height - reach, reach, -1):
                for w in range(width - reach, reach, -1):
                    dx, dy = next(steps)
                    a, b = (h, w), (h + dy, w + dx)
                    one[a], one[b] = one[b], one[a]  # the published exchange of views
    slow = gaussian_blur(torch.from_numpy(slow).permute(0, 3, 1, 2)[None], sigma=1.0)
    assert torch.equal(glass_blur(frame[None], [draw], sigma=1.0, reach=reach, rounds=rounds), slow)


def test_a_long_exposure_averages_the_frames_around():
    frames = torch.randint(0, 256, (9, 3, 4, 4), dtype=torch.uint8)
    from perturb.blur import temporal_blur

    ours = temporal_blur(frames[None], window=4)[0]
    for t in range(9):
        around = frames[max(0, t - 2) : t + 2].double()
        assert torch.equal(ours[t], around.mean(0).to(torch.uint8))
    assert torch.equal(temporal_blur(frames[:1, None], window=22)[:, 0], frames[:1])


# -------------------------------------------------------------------------------------- OpenCV
@pytest.mark.parametrize(
    ("name", "most_apart"),
    [
        ("jpeg", 0), ("mpeg1", 0), ("bit_error", 0), ("static_rotation", 0), ("random_rotation", 0),
        ("gaussian_blur", 1e-3), ("glass_blur", 5e-3), ("elastic", 1e-3), ("rain", 1e-3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(64, 64), (49, 82)])
def test_opencv_is_only_faster(name, most_apart, shape, monkeypatch):
    frames = picture(*shape)
    with_it = run(name, frames, 3)
    for module in ("blur", "camera", "planes", "weather"):
        monkeypatch.setattr(f"perturb.{module}.cv2", None)
    monkeypatch.setattr("perturb.lookup._IS_QUICK", False)
    worst, share = shares(with_it, run(name, frames, 3).numpy())
    assert worst <= 1
    assert share <= most_apart


# -------------------------------------------------------------------------------------- camera
@pytest.mark.parametrize("with_opencv", [True, False])
def test_an_elastic_lens_follows_scipy(with_opencv, monkeypatch):
    from scipy.ndimage import gaussian_filter, map_coordinates

    from perturb.camera import _resampled, _smoothing

    if not with_opencv:
        monkeypatch.setattr("perturb.camera.cv2", None)

    rng = np.random.default_rng(0)
    field = rng.uniform(-1, 1, (19, 30))
    for sigma in (0.7, 2.44, 25.0):
        smooth = _smoothing(19, sigma).numpy() @ field @ _smoothing(30, sigma).numpy().T
        slow = gaussian_filter(field, sigma, mode="reflect", truncate=3)
        assert np.abs(smooth - slow).max() < 1e-9
    plane = rng.integers(0, 256, (19, 30), dtype=np.uint8)
    rows, columns = np.meshgrid(np.arange(19.0), np.arange(30.0), indexing="ij")
    rows, columns = rows + 4 * field, columns - 5 * field
    slow = map_coordinates(plane.astype(float), [rows, columns], order=1, mode="mirror")
    stacked = torch.from_numpy(plane).expand(2, 3, 19, 30)
    ours = _resampled(stacked, (torch.from_numpy(columns), torch.from_numpy(rows)))
    worst, share = shares(ours, slow.astype(np.uint8))
    assert worst <= 1
    assert share < 0.02


def test_an_elastic_lens_at_rest_changes_nothing():
    from perturb.camera import elastic

    frame = picture(20, 26)
    draws = [draws_for("elastic", 1, "c", 0)]
    rest = elastic(frame[None], draws, strength=0, smoothness=2, tilt=0)[0]
    assert (rest.int() - frame.int()).abs().max() <= 1  # places are rounded
    still = frame[:1].repeat(3, 1, 1, 1)
    bent = elastic(still[None], draws, strength=60, smoothness=3, tilt=4)[0]
    assert not torch.equal(bent[0], still[0])
    assert torch.equal(bent[0], bent[2])  # the same for all frames


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degrees", [-31, -7.5, 0, 5, 45, 90, 133.3, 180])
def test_rotation_equals_pillow(shape, degrees):
    from PIL import Image

    frame = picture(*shape, frames=1)
    ours = rotate(frame, torch.tensor([float(degrees)], dtype=torch.float64))
    image = Image.fromarray(frame[0].permute(1, 2, 0).numpy()).rotate(degrees)
    assert np.array_equal(ours[0].permute(1, 2, 0).numpy(), np.asarray(image))


def test_random_angles_are_whole_and_reach_both_ends():
    drawn = angles(draws_for("random_rotation", 1, "c", 0), 2000, 7)
    assert torch.equal(drawn, drawn.round())
    assert (drawn.min(), drawn.max()) == (-7, 7)


def test_a_window_is_padded_with_black():
    frame = torch.arange(1, 13).view(3, 4)
    assert window(frame, 1, 2, 3, 3).tolist() == [[7, 8, 0], [11, 12, 0], [0, 0, 0]]
    assert window(frame, -1, -1, 2, 3).tolist() == [[0, 0, 0], [0, 1, 2]]
    assert window(frame, 9, 9, 2, 2).tolist() == [[0, 0], [0, 0]]


def test_a_shift_of_whole_pixels_and_between_them():
    frame = torch.tensor([[10, 20, 30], [40, 50, 60]], dtype=torch.uint8).expand(1, 3, 2, 3)
    whole = shift(frame, torch.tensor([[0.0, 1.0]], dtype=torch.float64))[0, 0]
    assert whole.tolist() == [[20, 30, 0], [50, 60, 0]]
    half = shift(frame, torch.tensor([[0.0, 0.5]], dtype=torch.float64))[0, 0]
    assert half.tolist() == [[15, 25, 15], [45, 55, 30]]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_translation_before_the_crop_is_the_published_window(severity):
    """224 of 256: the window at (a, b), zeros beyond the frame at the bottom and the right."""
    frame = picture(256, 256, frames=3)
    moved = run("translation", frame, severity)[..., 16:240, 16:240]
    draw = draws_for("translation", severity, "c", 0)
    low, high, _ = PERTURBATIONS["translation"].levels["paper"][severity - 1]
    corner = offsets(draw, 3, low, high, is_whole=True).long() + 16
    assert 0 <= corner.min() <= corner.max() <= 8 * severity
    for ours, source, (top, left) in zip(moved, frame, corner.tolist(), strict=True):
        assert torch.equal(ours, window(source, top, left, 224, 224))


def test_translation_per_clip_moves_all_frames_alike():
    from perturb.camera import translation

    still = picture(20, 20, frames=1).expand(6, -1, -1, -1)[None]
    draws = [draws_for("translation", 5, "c", 0)]
    together = translation(still, draws, low=-5, high=5, is_whole=1, per_clip=True)[0]
    assert all(torch.equal(frame, together[0]) for frame in together)
    shaken = translation(still, draws, low=-5, high=5, is_whole=1)[0]
    assert not all(torch.equal(frame, shaken[0]) for frame in shaken)


# ------------------------------------------------------------------------------------- digital
@pytest.mark.parametrize("quality", [3, 25])
def test_jpeg_is_that_of_pillow_with_a_quarter_of_the_chroma(quality):
    """The default of libjpeg, said aloud; the bytes that torchvision's operators gave."""
    from PIL import Image

    frames = picture(21, 34)
    ours = jpeg(frames[None], quality=quality)[0]
    for frame, made in zip(frames, ours, strict=True):
        stream = io.BytesIO()
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=quality)
        assert np.array_equal(made.permute(1, 2, 0).numpy(), np.array(Image.open(stream)))


def test_jpeg_stands_on_nothing_that_leaves(monkeypatch):
    """torchvision 0.29 deprecates its operators for JPEG: they are not called."""
    gone = SimpleNamespace(encode_jpeg=pytest.fail, decode_jpeg=pytest.fail)
    monkeypatch.setattr(torch.ops, "image", gone)
    assert jpeg(picture(21, 34)[None], quality=25).shape == (1, *picture(21, 34).shape)


@pytest.mark.parametrize("name", ["mpeg1", "mpeg2"])
def test_mpeg_quality_follows_the_quantiser_and_repeats(name):
    pytest.importorskip("av")
    frames = np.stack([np.roll(picture(47, 49, 1)[0].numpy(), t, 1) for t in range(7)])
    errors, sizes = [], []
    for quantiser in (2, 8, 31):
        made, size = recode(frames, name, quantiser_options(quantiser))
        assert made.shape == frames.shape
        again, _ = recode(frames, name, quantiser_options(quantiser))
        assert np.array_equal(made, again)
        errors.append(np.abs(made[..., :46, :48].astype(int) - frames[..., :46, :48]).mean())
        sizes.append(size)
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)
    # the odd row and column repeat their neighbours
    assert np.array_equal(made[..., 46, :], made[..., 45, :])
    assert np.array_equal(made[..., 48], made[..., 47])


@pytest.mark.parametrize("name", ["h264_crf", "h264_abr", "h265_crf", "h265_abr"])
def test_recent_codecs_repeat_on_small_frames(name):
    pytest.importorskip("av")
    frames = picture(34, 62, frames=3)
    weak = run(name, frames, 1)
    assert torch.equal(weak, run(name, frames, 1))
    assert weak.shape == frames.shape
    strong = run(name, frames, 5)
    errors = [(made.double() - frames.double()).abs().mean() for made in (weak, strong)]
    assert 0 < errors[0] < errors[1]


def test_an_encoder_that_dies_is_an_error_with_a_reason():
    from perturb.video import recode_apart

    frames = np.zeros((1, 1, 3, 8, 8), np.uint8)
    with pytest.raises(RuntimeError, match="h265_crf: "):
        recode_apart(frames, "h265_crf", [{"crf": "none of these"}])


def test_an_encoder_that_was_killed_is_started_again():
    """And its bytes are those of the same encoder in this process."""
    pytest.importorskip("av")
    from perturb.video import REPEATABLE_X265, _helper, recode_apart

    frames = picture(130, 134, frames=2)[None].numpy()
    options = {"crf": "40", **REPEATABLE_X265}
    before = recode_apart(frames, "h265_crf", [options])
    process = _helper()._running()
    assert process is _helper()._running()
    process.kill()
    process.wait()
    assert np.array_equal(recode_apart(frames, "h265_crf", [options]), before)
    assert np.array_equal(recode(frames[0], "h265_crf", options)[0], before[0])


@pytest.mark.parametrize("name", ["gaussian_blur", "zoom_blur"])
def test_coarse_products_of_a_training_change_no_pixel(name):
    clip = picture(70, 90, frames=3)
    before = run(name, clip, 5)
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(run(name, clip, 5), before)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_pixelate_repeats_block_means():
    frame = picture(8, 8, frames=1)
    ours = run("pixelate", frame, 2)[0].numpy()
    means = frame[0].numpy().reshape(3, 4, 2, 4, 2).mean((2, 4))
    assert np.array_equal(ours, np.floor(means + 0.5).repeat(2, 1).repeat(2, 2).astype(np.uint8))


# --------------------------------------------------------------------------------------- noise
EXPECTED_STD_OF_GREY = {
    "gaussian_noise": (20.4, 80.8),
    "shot_noise": (11.3, 46.2),
    "impulse_noise": (22.1, 66.2),
    "speckle_noise": (19.2, 44.6),
}


@pytest.mark.parametrize("name", EXPECTED_STD_OF_GREY)
def test_noise_has_the_published_strength(name):
    flat = torch.full((8, 3, 96, 96), 128, dtype=torch.uint8)
    for severity, expected in zip((1, 5), EXPECTED_STD_OF_GREY[name], strict=True):
        assert run(name, flat, severity).double().std() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("count", [7, 16, 131072 + 3, 2 * 131072])
def test_noise_in_parts_is_noise_at_once(count):
    """The words of a clip are one stream, whatever the parts that it is worked through in."""
    clip = torch.arange(count).mul(37).remainder(256).to(torch.uint8).view(1, 1, 1, 1, count)
    values, key = clip.flatten().numpy(), Draws(5)
    words = np.random.SFC64(key.key).random_raw((count + 1) // 2).view(np.uint32)
    drawn = words[:count]
    kept = values * (drawn >= round(0.3 * (2**32 - 1)))
    assert np.array_equal(pepper_noise(clip, [key], share=0.3).flatten(), kept)
    both = np.where(drawn < round(0.15 * (2**32 - 1)), 255, kept)
    assert np.array_equal(impulse_noise(clip, [key], share=0.3).flatten(), both)

    normal = []
    stream = np.random.SFC64(key.key).random_raw(count).view(np.uint8)
    for start in range(0, count, 131072):
        pairs = (min(131072, count - start) + 1) // 2
        drawn, stream = stream[: 6 * pairs], stream[6 * pairs :]
        radius, angle = drawn[: 4 * pairs].view(np.int32), drawn[4 * pairs :].view(np.int16)
        radius = np.sqrt(-2 * np.log(np.abs(radius | 1) / 2**31))
        angle = (angle + 0.5) * (np.pi / 2**15)
        normal += [radius * np.cos(angle), radius * np.sin(angle)]
    normal = np.concatenate(normal)
    assert normal_numbers(key, count).numpy() == pytest.approx(normal[:count], abs=1e-5)
    added = np.clip(values + 255 * 0.2 * normal[:count], 0, 255).astype(np.uint8)
    worst, share = shares(gaussian_noise(clip, [key], std=0.2).flatten(), added)
    assert worst <= 1
    assert share < 1e-3


def test_box_muller_gives_independent_normal_numbers():
    from scipy import stats

    from perturb.noise import _normal

    drawn = _normal(np.random.SFC64(1).random_raw(3 * 2**17).view(np.uint8), 1.0)
    assert np.isfinite(drawn).all()
    assert stats.kstest(drawn[: 2**17], "norm").pvalue > 0.01
    pairs = np.corrcoef(drawn[: 2**19], drawn[2**19 :])[0, 1]
    neighbours = np.corrcoef(drawn[:-1], drawn[1:])[0, 1]
    assert abs(pairs) < 0.005
    assert abs(neighbours) < 0.005


def test_truncation_darkens_by_half_a_level():
    flat = torch.full((8, 3, 128, 128), 128, dtype=torch.uint8)
    assert run("gaussian_noise", flat, 1).double().mean() == pytest.approx(127.5, abs=0.15)


@pytest.mark.parametrize("photons", [15, 250, 1560])
def test_photons_follow_the_poisson_distribution(photons):
    from perturb.noise import shot_noise

    for grey in (1, 60, 200):
        flat = torch.full((1, 4, 3, 160, 160), grey, dtype=torch.uint8)
        ours = shot_noise(flat, [draws_for("shot", 1, grey, 0)], photons=photons)
        counts = np.random.default_rng(grey).poisson(photons * grey / 255, ours.numel())
        theirs = (np.clip(counts / photons, 0, 1) * 255).astype(np.uint8)
        assert ours.double().mean() == pytest.approx(theirs.mean(), abs=0.35, rel=0.01)
        assert ours.double().std() == pytest.approx(theirs.std(), rel=0.02)
        greys = set(np.unique(theirs)) ^ set(ours.unique().tolist())
        rare = (np.isin(theirs, list(greys)).mean(), np.isin(ours, list(greys)).mean())
        assert max(rare) < 1e-3  # the same grey levels, but for the tails


def test_replaced_values_are_counted_and_others_pass_through():
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(8, 3, -1, -1)
    values = values.repeat(1, 1, 6, 6)
    noisy = run("impulse_noise", values, 5)
    changed = noisy != values
    assert changed.double().mean() == pytest.approx(0.27 * 255 / 256, abs=0.01)
    assert set(noisy[changed].tolist()) == {0, 255}
    assert (noisy[changed] == 255).double().mean() == pytest.approx(0.5, abs=0.03)
    assert set((run("salt_noise", values, 5) - values)[values == 3].tolist()) == {0, 252}
    assert run("pepper_noise", values, 1).double().mean() == pytest.approx(127.5 * 0.9, rel=0.01)


# ----------------------------------------------------------------------------- light, occlusion
def test_brightness_raises_the_value_of_hsv():
    import colorsys

    frame = picture(9, 9, frames=1)
    ours = run("brightness", frame, 3)[0].permute(1, 2, 0).reshape(-1, 3).numpy()
    for pixel, made in zip(frame[0].permute(1, 2, 0).reshape(-1, 3).tolist(), ours, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(v / 255 for v in pixel))
        slow = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + 0.3))
        assert np.abs(np.array(slow) * 255 - made).max() <= 1.01
    black = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert run("brightness", black, 1).unique().tolist() == [25]


def test_contrast_keeps_the_mean_and_shrinks_the_spread():
    frame = picture(16, 16, frames=2)
    ours, source = run("contrast", frame, 2).double(), frame.double()
    assert (ours.mean((-1, -2)) - source.mean((-1, -2))).abs().max() < 1
    assert ours.std() / source.std() == pytest.approx(0.4, abs=0.02)


def test_saturation_of_hsv():
    import colorsys

    frame = picture(9, 9, frames=1)
    for severity, (factor, offset) in enumerate(PERTURBATIONS["saturate"].levels["paper"], 1):
        ours = run("saturate", frame, severity)[0].permute(1, 2, 0).reshape(-1, 3).numpy()
        source = frame[0].permute(1, 2, 0).reshape(-1, 3).tolist()
        for pixel, made in zip(source, ours, strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*(v / 255 for v in pixel))
            slow = colorsys.hsv_to_rgb(hue, min(1.0, saturation * factor + offset), value)
            assert np.abs(np.array(slow) * 255 - made).max() <= 1.01


def test_fog_is_one_cloud_per_clip():
    from perturb.weather import plasma

    cloud = plasma(224, 2.0, torch.Generator().manual_seed(0))
    assert cloud.shape == (256, 256)
    assert (cloud.min(), cloud.max()) == (0, 1)
    neighbours = (cloud[1:] - cloud[:-1]).abs().mean()
    assert neighbours < 0.05 * cloud.std() * 10  # smooth
    black = torch.zeros(3, 3, 40, 40, dtype=torch.uint8)
    black[:, :, 0, 0] = 255
    foggy = run("fog", black, 3)
    assert all(torch.equal(frame, foggy[0]) for frame in foggy)
    assert foggy.float().std() > 5


def test_snow_falls_the_same_over_all_frames_and_only_brightens():
    dark = torch.full((3, 3, 48, 60), 30, dtype=torch.uint8)
    for severity in SEVERITIES:
        white = run("snow", dark, severity)
        assert all(torch.equal(frame, white[0]) for frame in white)
        assert (white >= 30).all()
        assert white.float().std() > 1
        # two layers of flakes, one of them upside down
        assert torch.equal(white, white.flip(-1, -2))


def test_spatter_is_the_same_over_all_frames_water_brightens_and_mud_covers():
    grey = torch.full((4, 3, 64, 72), 128, dtype=torch.uint8)
    for severity in SEVERITIES:
        made = run("spatter", grey, severity, ladder="imagenet_c")
        assert torch.equal(made, made[:1].expand_as(made))
        if severity <= 3:
            assert (made >= grey).all()
            assert (made > grey).any()
        else:
            assert (made <= grey).all()
            assert made.amin() < 64


def test_depth_of_water_is_the_distance_to_its_edge():
    ndimage = pytest.importorskip("scipy.ndimage")
    at = np.random.default_rng(0).random((37, 52)) < 0.004
    expected = ndimage.distance_transform_edt(~at)
    assert np.allclose(np.minimum(_distance(at), 20), np.minimum(expected, 20))


def test_rain_is_drawn_anew_in_every_frame():
    flat = torch.full((3, 3, 64, 64), 40, dtype=torch.uint8)
    wet = run("rain", flat, 2)
    assert not torch.equal(wet[0], wet[1])
    streaks = (wet[0, 0] > 100).sum().item()
    assert 10 < streaks <= 64 * 64 // 770 * 30


def test_damaged_streams_keep_their_length_and_repeat():
    pytest.importorskip("av")
    frames = picture(32, 34, frames=9)
    once = run("bit_error", frames, 5)
    assert torch.equal(once, run("bit_error", frames, 5))
    assert once.shape == frames.shape


def test_occlusion_hides_whole_cells_through_time():
    frame = torch.full((4, 3, 64, 64), 200, dtype=torch.uint8)
    ours = run("occlusion", frame, 5)
    cells = ours.view(4, 3, 8, 8, 8, 8)
    assert torch.equal(cells.amin((3, 5)), cells.amax((3, 5)))
    assert all(torch.equal(one, ours[0]) for one in ours)
    assert (ours == 0).double().mean() == 0.5


# ---------------------------------------------------------------------------------------- time
@pytest.mark.parametrize("length", [1, 2, 3, 7, 16, 24, 100])
def test_temporal_properties(length):
    from perturb import temporal

    order = random.Random(3)
    for window_ in (2, 4, 9, 64):
        shown = temporal.jumbling(length, order, window=window_)
        assert sorted(shown) == list(range(length))
        assert all(a // window_ == b // window_ for a, b in enumerate(shown))
        boxes = temporal.box_jumbling(length, order, segment=window_)
        assert sorted(boxes) == list(range(length))
        breaks = sum(b != a + 1 for a, b in itertools.pairwise(boxes))
        assert breaks <= math.ceil(length / window_) - 1
        slow = temporal.sampling(length, stride=window_)
        assert slow == [t // window_ * window_ for t in range(length)]
        back = temporal.reverse_sampling(length, stride=window_)
        assert back == sorted(back, reverse=True)
        assert len(back) == length
    for share, at_least in PERTURBATIONS["freezing"].levels["paper"]:
        frozen = temporal.freezing(length, order, share=share, at_least=at_least)
        count = max(1, int(max(share * length, at_least)))
        assert frozen[0] == 0
        assert frozen == sorted(frozen)
        assert all(frame <= time for time, frame in enumerate(frozen))
        assert len(set(frozen)) in {min(count, length), min(count + 1, length)}
    held = temporal.freezing_stochastic(length, order, probability=0.6)
    assert all(b in (a, t + 1) for t, (a, b) in enumerate(itertools.pairwise(held)))
    assert temporal.reversal(length)[::-1] == list(range(length))
    assert sorted(temporal.frame_shuffle(length, order)) == list(range(length))
    for rate in (30, 20, 12, 6):
        slower = temporal.frame_rate(length, rate_fps=rate, source_fps=30)
        assert slower == sorted(slower)
        assert all(0 <= t - frame < 30 / rate + 1 for t, frame in enumerate(slower))
        assert len(set(slower)) == pytest.approx(length * rate / 30, abs=1)


def test_a_segment_as_long_as_the_clip_changes_nothing():
    frames = picture(8, 8, frames=16)
    assert all(torch.equal(run("box_jumbling", frames, s), frames) for s in (3, 4, 5))
