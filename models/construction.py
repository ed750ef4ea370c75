"""A model from its name: put together, drawn, then loaded over from a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models import state_dicts
from models import weights as files
from models.assembled import AssembledFramewise, AssembledModel
from models.catalogue import HEADS, ModelSpec, clip_of, load_target, model, refusals
from models.initialisation import initialise, stream_of
from models.names import nearest
from models.renaming import dropped
from models.words import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from models.interface import Tokenizer


def build(
    name: str,
    *,
    heads: Mapping[str, int],
    weights: str = files.RANDOM,
    words: Tokenizer | None = None,
    seed: int = 0,
    size_px: int | None = None,
    **knobs: Any,
) -> AssembledModel:
    """The model called ``name``, a :class:`models.interface.VideoModel` on the CPU.

    Every part is drawn from its own random stream; a checkpoint is then loaded over what it
    covers. Heads that it lacks, or has in another size, stay as they were drawn.

    Args:
        name: A row of the catalogue.
        heads: Row of ``HEADS`` -> number of outputs, at least 1.
        weights: `random`, a checkpoint of the row by name, or a file.
        words: Makes numbers of captions; a text tower is built for them. None = no text.
        seed: Of the draws.
        size_px: Height and width of the clip; None = the checkpoint's.
        **knobs: Knobs of that model; ``frames`` is the number of frames of a clip.

    Raises:
        ValueError: Unknown model, head, knob or weights (the nearest name is given), a clip that
            the model cannot take, or weights that do not fit: their names are given.
        FileNotFoundError: No file of these weights; says where it was looked for.
    """
    spec = model(name)
    _known(knobs, spec.knobs, f"model {name}: unknown knob", "knobs")
    _known(heads, HEADS, f"model {name}: unknown head", "heads")
    for head, outputs in heads.items():
        if outputs < 1:
            raise ValueError(f"model {name}: head {head} needs at least 1 output, not {outputs}")
    if words is not None and not spec.text:
        raise ValueError(f"model {name}: reads no captions")
    checkpoint = files.find(spec.weights, weights)
    frames = knobs.pop("frames", None)
    clip = clip_of(name, weights=weights, frames=frames, size_px=size_px)
    for key, refusal in refusals(name, clip, weights=weights, knobs=knobs).items():
        raise ValueError(f"{key}: {refusal}")
    sizes = dict(spec.sizes)
    if checkpoint is not None and checkpoint.spec is not None:
        sizes |= checkpoint.spec.sizes
    with stream_of(seed, "trunk/constructed"):
        trunk = spec.load()(clip=clip, **sizes, **knobs)
    own_heads = getattr(trunk, "heads", {})
    built: dict[str, nn.Module] = {}
    for head, outputs in heads.items():
        row = HEADS[head]
        with stream_of(seed, f"{row.part}/constructed"):
            made = own_heads[head] if head in own_heads else load_target(row.target)
            reads = getattr(made, "reads", row.reads)
            built[head] = made(trunk.widths[reads], outputs)
    text = None
    if words is not None:
        with stream_of(seed, "text/constructed"):
            text = load_target(spec.text)(words=words)
    kind = AssembledFramewise if hasattr(trunk, "encode_frames") else AssembledModel
    whole = kind(name=name, clip=clip, trunk=trunk, heads=built, text=text, tokenizer=words)
    initialise(whole, seed)
    if checkpoint is not None:
        _load(whole, checkpoint, spec)
    return whole


def tokenizer(name: str, sentences: Iterable[str]) -> Tokenizer:
    """What makes numbers of captions for a model: its own, or the words of these sentences.

    Raises:
        ValueError: No such model.
    """
    row = model(name)
    if not row.tokenizer:
        return Vocabulary.of(sentences)
    made: Tokenizer = load_target(row.tokenizer)()
    return made


def _load(whole: AssembledModel, checkpoint: files.Checkpoint, spec: ModelSpec) -> None:
    own, read = whole.state_dict(), checkpoint.spec
    given = state_dicts.read(checkpoint.path)
    fresh: tuple[str, ...] = ()
    saved_from_ours = any(name.startswith("trunk.") for name in given)
    if read is not None and not saved_from_ours:
        given = dropped(given, read.ignored)
        given = load_target(read.rename)(given) if read.rename else given
        fresh = read.fresh
    optional = tuple(f"{row.part}." for row in HEADS.values())
    wrong = state_dicts.differences(own, given, optional=optional, fresh=fresh)
    if wrong:
        raise ValueError(f"{checkpoint.path} does not fit model {spec.name}: {'; '.join(wrong)}")
    fitting = {n: v for n, v in given.items() if n in own and own[n].shape == v.shape}
    whole.load_state_dict(fitting, strict=False)


def _known(given: Mapping[str, Any], allowed: Mapping[str, Any], refusal: str, what: str) -> None:
    for name in given:
        if name not in allowed:
            hint = nearest(name, allowed)
            raise ValueError(f"{refusal} {name!r}{hint} ({what}: {', '.join(allowed)})")
