"""The losses against slow references written out element by element."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import losses

DIMS = {
    "frames": 6,
    "video": 7,
    "vocabulary": 11,
    "classes": 4,
    "time": 5,
    "size_px": 8,
    "word": 9,
    "embed": 5,
}


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def softmax(row):
    weights = [math.exp(float(x)) for x in row]
    return [w / sum(weights) for w in weights]


def module(name):
    built = losses.initialise(losses.build(name, DIMS), 0, name)
    return built.double().requires_grad_(False)


@pytest.mark.parametrize("smoothing", [0.0, 0.05])
def test_classification(smoothing):
    logits, labels = draw(5, 4), torch.tensor([1, -1, 3, 0, -1])
    expected = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        if label >= 0:
            p = softmax(row)
            target = [smoothing / 4 + (1 - smoothing) * (k == label) for k in range(4)]
            expected.append(-sum(t * math.log(q) for t, q in zip(target, p, strict=True)))
    ours = losses.build("classification", DIMS, label_smoothing=smoothing)
    value = ours(logits=logits, labels=labels)
    assert float(value) == pytest.approx(sum(expected) / 3)
    torch.testing.assert_close(
        value,
        nn.functional.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=smoothing),
    )


def test_consistency():
    a, b = draw(3, 4), draw(3, 4, seed=1)
    expected = 0.0
    for row_a, row_b in zip(a, b, strict=True):
        pairs = zip(softmax(row_a), softmax(row_b), strict=True)
        expected += sum(p * math.log(p / q) for p, q in pairs) / 3
    ours = losses.build("consistency", DIMS)
    assert float(ours(logits=a, logits_b=b)) == pytest.approx(expected)
    assert float(ours(logits=a, logits_b=a + 2)) == pytest.approx(0, abs=1e-12)


def test_infonce_leaves_equal_captions_out():
    video = nn.functional.normalize(draw(4, 5), dim=-1)
    text = nn.functional.normalize(draw(4, 5, seed=1), dim=-1)
    ids = torch.tensor([[1, 2, 0], [3, 4, 5], [1, 2, 0], [1, 2, 3]])
    expected = 0.0
    for i in range(4):
        others = [j for j in range(4) if j == i or ids[j].tolist() != ids[i].tolist()]
        for rows, columns in ((video, text), (text, video)):
            scores = {j: float(rows[i] @ columns[j]) / 0.1 for j in others}
            expected += -scores[i] + math.log(sum(math.exp(s) for s in scores.values()))
    value = losses.build("infonce", DIMS)(video_embed=video, text_embed=text, caption_ids=ids)
    assert float(value) == pytest.approx(expected / 8)
    same = losses.build("infonce", DIMS)(
        video_embed=video, text_embed=text, caption_ids=torch.ones(4, 3, dtype=torch.int64)
    )
    assert float(same) == pytest.approx(0, abs=1e-12)


def cell(image, row, column):
    """Mean of one cell of the 4x4 grid of an 8x8 image."""
    return float(image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean())


def test_frame_difference():
    frames, pixels = draw(2, 5, 6), draw(2, 5, 3, 8, 8, seed=1) * 0.25 + 0.5
    ours = module("frame_difference")
    luminance = 0.299 * pixels[:, :, 0] + 0.587 * pixels[:, :, 1] + 0.114 * pixels[:, :, 2]
    errors = []
    for clip in range(2):
        for t in range(1, 4):
            predicted = ours.predict(frames[clip, t])
            for k in range(16):
                change = (
                    cell(luminance[clip, t + 1], k // 4, k % 4)
                    - cell(luminance[clip, t - 1], k // 4, k % 4)
                ) / 0.0625
                error = abs(float(predicted[k]) - change)
                errors.append(error - 0.5 if error > 1 else error**2 / 2)
    assert any(e > 0.5 for e in errors)
    assert any(e < 0.5 for e in errors)
    assert float(ours(frames=frames, pixels=pixels)) == pytest.approx(sum(errors) / len(errors))


def test_pixel():
    frames, pixels = draw(2, 5, 6), draw(2, 5, 3, 8, 8, seed=1)
    ours = module("pixel")
    errors = []
    for clip in range(2):
        for t in range(5):
            predicted = ours.predict(frames[clip, t])
            for k in range(48):
                colour, place = divmod(k, 16)
                target = (cell(pixels[clip, t, colour], place // 4, place % 4) - 0.5) / 0.25
                errors.append((float(predicted[k]) - target) ** 2)
    assert float(ours(frames=frames, pixels=pixels)) == pytest.approx(sum(errors) / len(errors))


def test_masked_frame():
    masked, whole = draw(2, 5, 6), draw(2, 5, 6, seed=1)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 2] = mask[1, 0] = mask[1, 4] = True
    candidates = [whole[c, t] / whole[c, t].norm() for c in range(2) for t in range(5)]
    expected = []
    for clip, t in mask.nonzero().tolist():
        query = masked[clip, t] / masked[clip, t].norm()
        p = softmax([float(query @ other) / 0.1 for other in candidates])
        expected.append(-math.log(p[clip * 5 + t]))
    value = losses.build("masked_frame", DIMS)(frames_masked=masked, frames=whole, frame_mask=mask)
    assert float(value) == pytest.approx(sum(expected) / 3)


def test_masked_text_counts_hidden_words_only():
    tokens, video = draw(2, 3, 9), draw(2, 7, seed=1)
    targets = torch.tensor([[-1, 4, -1], [10, -1, -1]])
    ours = module("masked_text")
    expected = 0.0
    for clip, place in ((0, 1), (1, 0)):
        hidden = nn.functional.gelu(ours.word(tokens[clip, place]) + ours.video(video[clip]))
        p = softmax(ours.predict(hidden))
        expected -= math.log(p[int(targets[clip, place])]) / 2
    value = ours(text_tokens_masked=tokens, video=video, caption_targets=targets)
    assert float(value) == pytest.approx(expected)


def test_caption_is_a_gated_recurrence_with_teacher_forcing():
    video = draw(2, 7)
    ids, mask = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    ours = module("caption")
    width = ours.from_state.in_features
    cell = nn.GRUCell(width, width).double().requires_grad_(False)
    with torch.no_grad():
        cell.weight_ih.copy_(ours.from_word.weight)
        cell.bias_ih.copy_(ours.from_word.bias)
        cell.weight_hh.copy_(ours.from_state.weight)
        cell.bias_hh.copy_(ours.from_state.bias)
    expected = 0.0
    for clip in range(2):
        state = torch.tanh(ours.start(video[clip]))
        previous = torch.tensor(11)
        for place in range(int(mask[clip].sum())):
            state = cell(ours.words(previous), state)
            p = softmax(ours.predict(state))
            expected -= math.log(p[int(ids[clip, place])]) / 5
            previous = ids[clip, place]
    assert float(ours(video=video, caption_ids=ids, caption_mask=mask)) == pytest.approx(expected)
    padded = nn.functional.pad(ids, (0, 2)), nn.functional.pad(mask, (0, 2))
    longer = ours(video=video, caption_ids=padded[0], caption_mask=padded[1])
    assert float(longer) == pytest.approx(expected)


def test_latent_prediction_ignores_visible_frames_and_the_scale_of_the_teacher():
    masked, target = draw(2, 5, 6), draw(2, 5, 6, seed=1)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, 2] = mask[1, 4] = True
    ours = module("latent_prediction")
    predicted = ours.predict(masked, mask)
    expected = 0.0
    for clip, t in ((0, 2), (1, 4)):
        row = target[clip, t]
        row = (row - row.mean()) / (row.var(unbiased=False) + 1e-5).sqrt()
        expected += float((predicted[clip, t] - row).abs().mean()) / 2
    value = ours(frames_masked=masked, frame_mask=mask, frames_target=target)
    assert float(value) == pytest.approx(expected)
    changed = target + ~mask.unsqueeze(-1) * 5
    again = ours(frames_masked=masked, frame_mask=mask, frames_target=changed)
    torch.testing.assert_close(value, again)
    large = ours(frames_masked=masked, frame_mask=mask, frames_target=100 * target)
    torch.testing.assert_close(value, large, rtol=1e-3, atol=1e-3)


def test_variance_covariance():
    a, b = draw(4, 7), 0.3 * draw(4, 7, seed=1)

    def covariance(z, i, j):
        return sum(
            float((z[n, i] - z[:, i].mean()) * (z[n, j] - z[:, j].mean())) for n in range(len(z))
        ) / (len(z) - 1)

    def hinge(z):
        return sum(max(0, 1 - math.sqrt(covariance(z, j, j) + 1e-4)) for j in range(7)) / 7

    def repeated(z):
        return sum(covariance(z, i, j) ** 2 for i in range(7) for j in range(7) if i != j) / 7

    expected = {
        "invariance": float((a - b).square().mean()),
        "variance": (hinge(a) + hinge(b)) / 2,
        "covariance": repeated(a) + repeated(b),
    }
    off = dict.fromkeys(expected, 0.0)
    for term, value in expected.items():
        ours = losses.build("variance_covariance", DIMS, **{**off, term: 1.0})
        assert float(ours(video=a, video_b=b)) == pytest.approx(value), term
    default = losses.build("variance_covariance", DIMS)(video=a, video_b=b)
    total = expected["invariance"] + expected["variance"] + 0.04 * expected["covariance"]
    assert float(default) == pytest.approx(total)


def test_the_placebo_gives_every_caption_once_and_the_own_one_as_often_as_any_other():
    from losses.auxiliary.infonce import infonce
    from losses.auxiliary.infonce_shuffled import _shuffled, infonce_shuffled

    rng = torch.Generator().manual_seed(0)
    own = torch.zeros(8)
    for _ in range(800):
        video = F.normalize(torch.randn(8, 16, generator=rng), dim=1)
        ids = torch.randint(40, (8, 5), generator=rng)
        ids[3] = ids[5]  # of one caption there may be several clips
        given = _shuffled(ids, video)
        assert sorted(given.tolist()) == list(range(8))
        own += given == torch.arange(8)
    share = own.mean().item() / 800
    assert abs(share - 1 / 8) < 4 * (1 / 8 * 7 / 8 / 800) ** 0.5  # all clips move together
    text = F.normalize(torch.randn(8, 16, generator=rng), dim=1)
    assert infonce_shuffled(video_embed=video, text_embed=text, caption_ids=ids) == infonce(
        video_embed=video, text_embed=text[given], caption_ids=ids[given]
    )
