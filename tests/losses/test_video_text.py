"""Losses over clip and caption against slow references, and what they must not depend on."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import losses
from losses.parts.attention import Attention, DecoderLayer
from losses.parts.fusion import PairScore
from losses.parts.pairs import comparable_pairs, max_margin, mil_nce, row_nce
from losses.parts.similarity import LearnedScale, attended_similarity, masked_mean
from sweep.settings.section import ConfigError
from sweep.studies.checks import check_needs
from tests import conformance

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
DIMS = {"frames": 6, "video": 7, "embed": 8, "vocabulary": 11, "time": 5, "word": 9, "token": 4}
FRAMES, WORDS = 5, 4


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def unit(*shape, seed=0):
    return nn.functional.normalize(draw(*shape, seed=seed), dim=-1)


def make(name, **knobs):
    loss = losses.build(name, DIMS, **knobs)
    if isinstance(loss, nn.Module):
        return losses.initialise(loss, 0, name).double().requires_grad_(False)
    return loss


def features(batch=4, words=WORDS):
    ids = torch.tensor([[3, 4, 5, 6], [3, 4, 7, 0], [1, 2, 0, 0], [3, 4, 5, 6]])[:batch, :words]
    mask = ids > 0
    hidden = mask & (torch.arange(words) == 1)
    frame_mask = torch.zeros(batch, FRAMES, dtype=torch.bool)
    frame_mask[:, 2] = True
    found = {
        "caption_ids": ids,
        "caption_mask": mask,
        "caption_targets": ids.masked_fill(~hidden, -1),
        "frame_mask": frame_mask,
    }
    for index, suffix in enumerate(("", "_masked")):
        found |= {
            f"frames{suffix}": draw(batch, FRAMES, DIMS["frames"], seed=10 + index),
            f"text_tokens{suffix}": draw(batch, words, DIMS["word"], seed=20 + index),
            f"video_embed{suffix}": unit(batch, DIMS["embed"], seed=30 + index),
            f"text_embed{suffix}": unit(batch, DIMS["embed"], seed=40 + index),
        }
    return found


def value(name, given=None, **knobs):
    given = given or features()
    return make(name, **knobs)(**{f: given[f] for f in losses.LOSSES[name].needs})


def cross_entropy(row, right):
    return math.log(sum(math.exp(x) for x in row)) - row[right]


SAME = {(0, 3), (3, 0)}  # equal captions in features()


@pytest.mark.parametrize(("name", "suffix"), [("univl_joint", ""), ("univl_m_joint", "_masked")])
@pytest.mark.parametrize("dedupe", [True, False])
def test_joint(name, suffix, dedupe):
    given = features()
    s = (given[f"text_embed{suffix}"] @ given[f"video_embed{suffix}"].T).tolist()
    pairs = [(i, j) for i in range(4) for j in range(4) if not dedupe or (i, j) not in SAME]
    costs = [max(0, 0.2 + s[i][j] - s[i][i]) + max(0, 0.2 + s[i][j] - s[j][j]) for i, j in pairs]
    expected = sum(costs) / len(costs)
    assert float(value(name, margin=0.2, dedupe=dedupe)) == pytest.approx(expected)


def test_margin_between_clips_of_one_video_weighs_by_the_hard_rate():
    scores, everything = draw(6, 6), torch.ones(6, 6, dtype=torch.bool)
    total = 0.0
    for i in range(6):
        for j in range(6):
            cost = sum(max(0.0, float(0.1 + scores[i, j] - scores[k, k])) for k in (i, j))
            # 3 videos of 2 rows: the own video has 1/3 of the pairs and 0.6 of the weight
            total += cost * (0.6 * 3 if i // 2 == j // 2 else 0.4 * 3 / 2)
    ours = max_margin(scores, everything, margin=0.1, block=2, hard_rate=0.6)
    assert float(ours) == pytest.approx(total / 36)
    with pytest.raises(ValueError, match="a batch of 6 rows is not made of blocks of 4"):
        max_margin(scores, everything, margin=0.1, block=4)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_mil_nce(block):
    scores, everything = draw(6, 6), torch.ones(6, 6, dtype=torch.bool)
    expected = []
    for v in range(block // 2, 6, block):
        own = [t for t in range(6) if t // block == v // block]
        right = sum(math.exp(scores[t, v]) for t in own)
        wrong = sum(math.exp(scores[t, v]) for t in range(6) if t not in own)
        wrong += sum(math.exp(scores[v, other]) for other in range(6) if other not in own)
        expected.append(math.log(1 + wrong / right))
    ours = mil_nce(scores, everything, block=block)
    assert float(ours) == pytest.approx(sum(expected) / len(expected))


def test_siglip():
    given = features()
    total = 0.0
    for i in range(4):
        for j in range(4):
            if (i, j) not in SAME:
                logit = 7 * float(given["text_embed"][i] @ given["video_embed"][j]) - 3
                total += math.log1p(math.exp(-logit if i == j else logit))
    assert float(value("siglip", scale=7.0, bias=-3.0)) == pytest.approx(total / 4)


def test_allinone_adds_the_directions_that_infonce_averages():
    assert float(value("allinone_vtc", temperature=0.1)) == pytest.approx(
        2 * float(value("infonce"))
    )


def test_equal_captions_are_no_wrong_answers():
    given = features()
    given["caption_ids"] = torch.ones_like(given["caption_ids"])
    for name in ("univl_align", "violet_vtm", "mil_nce", "allinone_vtc"):
        assert float(value(name, given)) == pytest.approx(0, abs=1e-12)
        assert float(value(name, given, dedupe=False)) > 0.1
    assert float(value("univl_joint", given)) == pytest.approx(0.2)  # the margin of the diagonal


def slow_score(module, words, mask, frames):
    """One caption with one clip, word by word."""
    width = module.query.out_features
    position = [
        torch.tensor(
            [
                (math.sin if k % 2 == 0 else math.cos)(p / 10_000 ** ((k - k % 2) / width))
                for k in range(width)
            ]
        )
        for p in range(max(len(words), len(frames)))
    ]
    text = [module.words(w) + position[p] for p, w in enumerate(words)]
    key = [module.key(f) + position[p] for p, f in enumerate(frames)]
    read, told = [], []
    for word, real in zip(text, mask, strict=True):
        if real:
            scores = torch.stack([module.query(word) @ k for k in key]) / math.sqrt(width)
            weights = scores.softmax(0)
            told.append(word)
            read.append(sum(w * module.value(f) for w, f in zip(weights, frames, strict=True)))
    state = module.norm(torch.stack(told).mean(0) + torch.stack(read).mean(0))
    if module.hidden is not None:
        state = module.hidden(state).relu()
    return module.judge(state)


@pytest.mark.parametrize("hidden", [True, False])
def test_pair_score_is_that_of_every_pair_alone(hidden):
    module = losses.initialise(PairScore(DIMS, 8, loss="test", hidden=hidden), 0, "test")
    module.double().requires_grad_(False)
    given = features()
    ours = module(given["text_tokens"], given["caption_mask"], given["frames"])
    for i in range(4):
        for j in range(4):
            expected = slow_score(
                module, given["text_tokens"][i], given["caption_mask"][i], given["frames"][j]
            )
            assert float(ours[i, j]) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("name", ["univl_align", "univl_m_align", "violet_vtm", "allinone_vtm"])
def test_matching(name):
    given, loss = features(), make(name)
    suffix = "_masked" if name == "univl_m_align" else ""
    s = loss.score(
        given[f"text_tokens{suffix}"], given["caption_mask"], given[f"frames{suffix}"]
    ).tolist()
    pairs = [(i, j) for i in range(4) for j in range(4) if (i, j) not in SAME]
    if name == "allinone_vtm":
        true = [math.log1p(math.exp(-s[i][i])) for i in range(4)]
        false = [math.log1p(math.exp(s[i][j])) for i, j in pairs if i != j]
        expected = (sum(true) / 4 + sum(false) / len(false)) / 2
    else:
        rows = []
        for i in range(4):
            others = [j for j in range(4) if (i, j) in pairs]
            if name == "violet_vtm":  # clips look for captions
                row = [s[j][i] / 0.05 for j in others]
            else:
                row = [s[i][j] for j in others]
            rows.append(cross_entropy(row, others.index(i)))
        expected = sum(rows) / 4
    assert float(value(name, given)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", ["univl_align", "violet_vtm", "allinone_vtm", "univl_decoder", "allinone_mlm", "glscl"]
)
def test_a_clip_without_caption_is_left_out(name):
    given = features()
    given["caption_mask"][2] = False
    given["caption_ids"][2] = 0
    given["caption_targets"][2] = -1
    rest = {f: x[[0, 1, 3]] for f, x in given.items()}
    assert float(value(name, given)) == pytest.approx(float(value(name, rest)))


@pytest.mark.parametrize(
    "name",
    [
        "univl_align",
        "univl_m_align",
        "univl_cmlm",
        "univl_cmfm",
        "univl_decoder",
        "univl_m_decoder",
        "violet_vtm",
        "violet_mtm",
        "allinone_mlm",
        "allinone_vtm",
        "glscl",
    ],
)
def test_the_amount_of_padding_changes_nothing(name):
    given = features()
    longer = dict(given)
    for f, x in given.items():
        if f.startswith(("caption", "text_tokens")):
            fill = -1 if f == "caption_targets" else 5 if f.startswith("text") else 0
            longer[f] = torch.cat((x, torch.full_like(x[:, :2], fill)), dim=1)
    assert float(value(name, longer)) == pytest.approx(float(value(name, given)))


def test_decoder_never_looks_ahead():
    given = features()
    first = given["caption_mask"] & (torch.arange(WORDS) < 2)
    before = value("univl_decoder", given | {"caption_mask": first})
    given["caption_ids"] = given["caption_ids"].clone()
    given["caption_ids"][:, 2:] = 9
    after = value("univl_decoder", given | {"caption_mask": first})
    assert float(before) == pytest.approx(float(after))
    assert value("univl_decoder", given, count_padding=True) != value("univl_decoder", given)


def test_masked_frames_are_found_among_all_frames():
    loss, given = make("univl_cmfm"), features()
    _, states = loss.fusion(
        given["text_tokens_masked"], given["caption_mask"], given["frames_masked"]
    )
    whole = nn.functional.layer_norm(given["frames"], given["frames"].shape[-1:]).flatten(0, 1)
    expected = [
        cross_entropy((whole @ loss.predict(states[clip, 2])).tolist(), clip * FRAMES + 2)
        for clip in range(4)
    ]
    assert float(value("univl_cmfm", given)) == pytest.approx(sum(expected) / 4)


def copy_attention(ours, theirs):
    for name, weight, bias in zip(
        ("query", "key", "value"),
        theirs.in_proj_weight.chunk(3),
        theirs.in_proj_bias.chunk(3),
        strict=True,
    ):
        getattr(ours, name).weight.data.copy_(weight)
        getattr(ours, name).bias.data.copy_(bias)
    ours.out.load_state_dict(theirs.out_proj.state_dict())


def test_attention_and_decoder_layer_equal_those_of_torch():
    theirs = nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, batch_first=True).double()
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(draw(*p.shape, seed=p.numel()))
    ours = DecoderLayer(8, 2, 12).double()
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    for name in ("linear1", "linear2", "norm1", "norm2", "norm3"):
        getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
    x, memory = draw(3, 4, 8), draw(3, 5, 8, seed=1)
    keep = torch.arange(5) < torch.tensor([[5], [2], [3]])
    expected = theirs(x, memory, memory_key_padding_mask=~keep)
    torch.testing.assert_close(ours(x, memory, keep_memory=keep.unsqueeze(1)), expected)
    with pytest.raises(ValueError, match="width 8 cannot have 3 heads"):
        Attention(8, 3)


def test_global_score_by_hand():
    text, frames = draw(2, 3), draw(2, 4, 3, seed=1)
    mask = torch.tensor([[True, True, False, True], [False] * 4])
    ours = attended_similarity(text, frames, mask, temperature=3.0)
    for i in range(2):
        weights = [math.exp(text[i] @ frames[0, f] / 3) for f in (0, 1, 3)]
        seen = sum(w * frames[0, f] for w, f in zip(weights, (0, 1, 3), strict=True))
        expected = nn.functional.cosine_similarity(text[i], seen, dim=0)
        assert float(ours[i, 0]) == pytest.approx(float(expected))
    assert ours[:, 1].tolist() == [0, 0]
    assert masked_mean(frames, mask)[1].tolist() == [0, 0, 0]


def concepts(seed=0, batch=6):
    return unit(batch, 3, 8, seed=seed)


def test_consistency_of_concepts():
    video, text = concepts(), concepts(seed=1)
    agreement = [sum(float(video[b, q] @ text[b, q]) for b in range(6)) for q in range(3)]
    gap = float((video.mean(0) - text.mean(0)).square().mean())
    for norm, count in (("reference", 3), ("batch", 6)):
        ours = losses.build("glscl_icl", DIMS, norm=norm, beta=0.1)
        expected = gap + 0.1 * sum((a / count - 0.75) ** 2 for a in agreement)
        assert float(ours(video_concepts=video, text_concepts=text)) == pytest.approx(expected)
    alone = losses.build("glscl_icl", DIMS, beta=0.0)
    assert float(alone(video_concepts=video, text_concepts=text)) == pytest.approx(gap)
    with pytest.raises(ValueError, match="norm 'mean'"):
        losses.build("glscl_icl", DIMS, norm="mean")(video_concepts=video, text_concepts=text)


def test_diversity_of_concepts():
    video = nn.functional.normalize(draw(1, 1, 8) + 0.05 * draw(6, 3, 8, seed=1), dim=-1)
    gram = torch.einsum("bqd,bkd->qk", video, video) / 6
    expected = sum(max(0, float(gram[i, j]) - 0.9) for i in range(3) for j in range(3) if i != j)
    ours = losses.build("glscl_idl", DIMS)
    assert float(ours(video_concepts=video)) == pytest.approx(2 * expected / 6)
    assert expected > 0
    assert float(ours(video_concepts=concepts()[:, :1])) == 0
    assert float(ours(video_concepts=torch.eye(8).double()[None, :3])) == 0


def test_glscl_is_the_sum_of_its_parts():
    parts = [
        {"gap": 0, "consistency": 0, "diversity": 0},
        {"contrast": 0, "consistency": 0, "diversity": 0},
        {"contrast": 0, "gap": 0, "diversity": 0},
        {"contrast": 0, "gap": 0, "consistency": 0, "diversity_sides": "both"},
    ]
    knobs = {"diversity_sides": "both", "diversity": 0.1, "diversity_margin": 1.5}
    whole = float(value("glscl", **knobs))
    separate = [float(value("glscl", **(knobs | part))) for part in parts]
    assert all(part > 0 for part in separate)
    assert whole == pytest.approx(sum(separate))
    one_sided = float(value("glscl", **(knobs | {"diversity_sides": "video"})))
    assert one_sided < whole
    only = {"gap": 0, "consistency": 0, "diversity": 0}
    scores = {
        float(value("glscl", **only, use_global=a, use_local=b))
        for a, b in ((True, True), (True, False), (False, True))
    }
    assert len(scores) == 3
    with pytest.raises(ValueError, match="needs use_global or use_local"):
        make("glscl", use_global=False, use_local=False)
    with pytest.raises(ValueError, match="are all 0"):
        make("glscl", contrast=0, gap=0, consistency=0, diversity=0)
    with pytest.raises(ValueError, match="diversity_sides 'text'"):
        make("glscl", diversity_sides="text")


def test_glscl_shares_queries_and_decoder_unless_told_otherwise():
    def count(**knobs):
        return sum(p.numel() for p in make("glscl", **knobs).parameters())

    queries = 8 * DIMS["embed"]
    assert count(share_queries=False) - count() == queries
    assert count(share_decoder=False) - count() > queries


def test_contrast_on_given_concepts():
    video, text = concepts(batch=4), concepts(seed=1, batch=4)
    frames, pooled = draw(4, FRAMES, 8), draw(4, 8, seed=1)
    scores = attended_similarity(pooled, frames, temperature=3.0)
    for i in range(4):
        for j in range(4):
            scores[i, j] += 0.5 * (text[i] * video[j]).sum() / 3
    rows = [cross_entropy((20 * scores[i]).tolist(), i) for i in range(4)]
    rows += [cross_entropy((20 * scores[:, i]).tolist(), i) for i in range(4)]
    ours = make("glscl_contrast", scale=20.0)(
        frame_embeds=frames,
        text_pooled=pooled,
        video_concepts=video,
        text_concepts=text,
        caption_ids=features()["caption_ids"],
    )
    assert float(ours) == pytest.approx(sum(rows) / 8, rel=1e-6)  # the scale is kept in float32


def test_learned_scale_stays_below_its_limit_and_comes_back():
    scale = LearnedScale(100.0)
    scale.log_scale.data += 1
    found = scale()
    assert float(found.detach()) == pytest.approx(100)
    (gradient,) = torch.autograd.grad(found, scale.log_scale)
    assert float(gradient) == pytest.approx(100)
    with pytest.raises(ValueError, match="scale 200"):
        LearnedScale(200.0)


def test_a_row_that_is_nobodys_answer_counts_for_nothing():
    ids = torch.tensor([[1], [1], [2]])
    captioned = torch.tensor([True, True, False])
    allowed = comparable_pairs(ids, dedupe=False, captioned=captioned)
    assert allowed.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert comparable_pairs(ids, dedupe=True).sum() == 7
    none = torch.zeros(3, dtype=torch.bool)
    assert row_nce(draw(3, 3), allowed, none) == 0


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("glscl_icl", "text_concepts"),
        ("glscl_contrast", "frame_embeds"),
        ("violet_mvm", "tokens"),
        ("violet_multiple_choice", "option_logits"),
        ("violet_open_ended", "answer_logits"),
    ],
)
def test_a_model_without_the_feature_is_refused_by_name(name, feature):
    with pytest.raises(ConfigError, match=f"loss '{name}' needs the feature '{feature}'"):
        check_needs([name], "tiny", "mine.yaml")


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no reference numbers here")
def test_reference_numbers(capsys):
    only = ["glscl_concept_losses", "glscl_full", "meltr_losses"]
    assert conformance.run(GOLDEN, only) == 0, capsys.readouterr().out
