"""All losses that the small model serves together, on its features."""

import copy

import pytest
import torch
from torch import nn

import losses
import models
from losses.catalogue import DATA_FEATURES, LOSSES, split_view
from losses.combine.meta import meta_gradient
from models.catalogue import MODELS
from models.words import Vocabulary
from sweep.training.learner import loss_dims

SERVED = MODELS["tiny"].features
NAMES = tuple(
    name
    for name, row in LOSSES.items()
    if all(split_view(feature)[0] in SERVED for feature in row.needs - DATA_FEATURES)
)
CLASSES, FRAMES, SIZE_PX, VOCABULARY, WORDS = 4, 3, 32, 12, 5


class AllLosses(nn.Module):
    """One forward per view, then every loss."""

    def __init__(self):
        super().__init__()
        model = models.build(
            "tiny",
            heads={"classes": CLASSES, "joint": 64},
            frames=FRAMES,
            size_px=SIZE_PX,
            words=Vocabulary({str(n): n for n in range(3, VOCABULARY)}, WORDS),
        )
        self.model = model
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        built = {name: losses.build(name, loss_dims(model)) for name in NAMES}
        self.heads = nn.ModuleDict(
            {
                name: losses.initialise(loss, 0, name)
                for name, loss in built.items()
                if isinstance(loss, nn.Module)
            }
        )
        self.functions = {name: loss for name, loss in built.items() if name not in self.heads}

    def forward(self, batch, names=NAMES):
        encode, features = self.model.encode_video, dict(batch)
        features |= encode(batch["pixels"])
        for suffix in ("_b", "_masked"):
            with models.frozen_statistics(self.model):
                made = encode(batch[f"pixels{suffix}"])
            features |= {f"{name}{suffix}": value for name, value in made.items()}
        with torch.no_grad(), models.frozen_statistics(self.teacher):
            made = self.teacher.encode_video(batch["pixels"])
        features |= {f"{name}_target": value for name, value in made.items()}
        for suffix in ("", "_masked"):
            made = self.model.encode_text(batch[f"caption_ids{suffix}"], batch["caption_mask"])
            features |= {f"{name}{suffix}": value for name, value in made.items()}
        values = []
        for name in names:
            loss = self.heads[name] if name in self.heads else self.functions[name]
            values.append(loss(**{feature: features[feature] for feature in LOSSES[name].needs}))
        return torch.stack(values)


def batch(seed, size=4):
    g = torch.Generator().manual_seed(seed)
    pixels = 0.5 + 0.25 * torch.randn(
        size, FRAMES, 3, SIZE_PX, SIZE_PX, generator=g, dtype=torch.float64
    )
    noise = torch.randn(pixels.shape, generator=g, dtype=torch.float64)
    ids = torch.randint(1, VOCABULARY, (size, WORDS), generator=g)
    hidden = torch.zeros(size, WORDS, dtype=torch.bool)
    hidden[:, seed % WORDS] = True
    frame_mask = torch.zeros(size, FRAMES, dtype=torch.bool)
    frame_mask[:, 1] = True
    return {
        "pixels": pixels,
        "pixels_b": pixels + noise / 16,
        "pixels_masked": pixels.masked_fill(frame_mask[:, :, None, None, None], 0.5),
        "frame_mask": frame_mask,
        "labels": torch.randint(CLASSES, (size,), generator=g),
        "caption_ids": ids,
        "caption_mask": ids > 1,
        "caption_ids_masked": ids.masked_fill(hidden, 0),
        "caption_targets": ids.masked_fill(~hidden, -1),
    }


@pytest.fixture(scope="module")
def learner():
    made = AllLosses().double()
    made(batch(0))
    return made


def test_gradient_of_the_sum_is_the_sum_of_the_gradients(learner):
    trained = [p for p in learner.parameters() if p.requires_grad]
    with models.frozen_statistics(learner):
        values = learner(batch(1))
        shared = torch.autograd.grad(values.sum(), trained, allow_unused=True)
        separate = [
            torch.autograd.grad(learner(batch(1))[row], trained, allow_unused=True)
            for row in range(len(NAMES))
        ]
    for at_once, *single in zip(shared, *separate, strict=True):
        assert at_once is not None
        torch.testing.assert_close(at_once, sum(g for g in single if g is not None))


@pytest.mark.parametrize("size", [1, 4])
def test_meta_gradient_equals_double_backward_through_the_model(learner, size):
    combiner = losses.COMBINERS["meltr"].load()(names=NAMES, primary="classification")
    losses.initialise(combiner, 0, "meltr").double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in combiner.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    params = {n: p.detach() for n, p in learner.named_parameters() if p.requires_grad}
    statistics = {n: b.clone() for n, b in learner.named_buffers()}

    def train(weights):
        return torch.func.functional_call(learner, weights, (batch(2, size),))

    def validate(weights):
        only = {"names": ("classification",)}
        return torch.func.functional_call(learner, weights, (batch(3, size),), only)[0]

    with models.frozen_batchnorm(learner):
        found = [
            meta_gradient(combiner, params, train, validate, method=method)
            for method in ("jvp", "double_backward")
        ]
    ours, oracle = found
    torch.testing.assert_close(ours.s, oracle.s)
    for name, gradient in oracle.grads.items():
        torch.testing.assert_close(ours.grads[name], gradient)
    assert all(torch.equal(statistics[n], b) for n, b in learner.named_buffers())
