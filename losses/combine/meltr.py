"""MELTR: a transformer over the losses, taught by the primary loss (arXiv:2303.13009).

Each loss becomes one token: its value through a small network shared by all, plus a vector of its
name. One encoder layer, the mean over tokens, one linear map: the unified loss M.

Quirk: fixed; the published module weights a loss by its position in the enabled list, so that
leaving one out changes what every row means. Rows here belong to names.
Quirk: fixed; the published slopes dM/dl start tiny and often negative: the first steps climb
some losses. With ``output="residual"`` M starts as the weighted sum and learns what to change.
Quirk: fixed; the published module feeds raw values, so that a loss of large scale drowns the rest.
With ``input="ratio"`` each is divided by its own first value.
``output="plain", input="raw", size="reference"`` is the published module; with ``init="normal"`` it
starts as its all-in-one variant.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.catalogue import nearest
from losses.combine.names import checked, rows, weight_list
from losses.initialisation import part_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADS = 8
SIZES = {"small": (16, 32, 32), "reference": (128, 256, 512)}
"""Width of the value network, of the tokens and of the feed-forward part."""
OUTPUTS = ("residual", "plain")
INPUTS = ("ratio", "raw", "log1p")
SLOPES = ("any", "positive")
INITS = ("torch", "normal")
SMALLEST_VALUE = 1e-6
"""A first value nearer to 0 than this tells nothing (no labelled clip in the batch, say)."""
SMALLEST_REFERENCE = 0.1
"""Slopes dM/dl grow with 1 / reference. A loss may start near 0 and rise later, as the agreement of
two views does in an untrained model: without a floor its slope would be the largest of all, with a
sign from a random network (seen: -7 after four meta steps)."""


LOWEST_SHARE = 0.1
"""Slopes above this share of the loss's weight stay as they are under ``slope="positive"``."""
NORMAL_STD = 0.02
"""Of ``init="normal"``."""


class NameRows(nn.Module):
    """One vector per name, drawn from the seed and the name, whatever the other names."""

    def __init__(self, names: Sequence[str], width: int, std: float = 1.0) -> None:
        super().__init__()
        self.names = tuple(names)
        self.std = std
        self.weight = nn.Parameter(torch.empty(len(names), width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw from N(0, std^2): one draw of the global stream seeds all rows."""
        seed = int(torch.randint(2**62, ()))
        with torch.no_grad():
            for row, name in zip(self.weight, self.names, strict=True):
                generator = torch.Generator().manual_seed(part_seed(seed, name))
                draw = torch.randn(row.shape, generator=generator, dtype=row.dtype)
                row.copy_(self.std * draw)

    def forward(self, chosen: Sequence[int]) -> Tensor:
        """Rows at these positions, ``(chosen, width)``."""
        return self.weight[list(chosen)]


class ZeroLinear(nn.Linear):
    """A linear map without bias that starts at zero."""

    def reset_parameters(self) -> None:
        """All weights to zero."""
        nn.init.zeros_(self.weight)


class SelfAttention(nn.Module):
    """Attention of eight heads over the tokens, written out.

    Fused kernels have neither second derivatives nor forward-mode ones, and the meta step needs
    both. Parameters and initial values are those of ``nn.MultiheadAttention``.
    """

    def __init__(self, width: int, dropout: float, out_projection: type[nn.Linear]) -> None:
        super().__init__()
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = out_projection(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform input projection, zero biases."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(tokens, width)`` -> ``(tokens, width)``."""
        count, width = tokens.shape
        joint = F.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        query, key, value = joint.view(count, 3, HEADS, width // HEADS).permute(1, 2, 0, 3)
        scores = query @ key.transpose(1, 2) / math.sqrt(width // HEADS)
        attention = F.dropout(scores.softmax(-1), self.dropout, self.training)
        return self.out_proj((attention @ value).transpose(0, 1).reshape(count, width))


class OutProjection(nn.Linear):
    """Linear map whose bias starts at zero."""

    def reset_parameters(self) -> None:
        """Weight as of ``nn.Linear``, bias zero."""
        super().reset_parameters()
        nn.init.zeros_(self.bias)


class NormalLinear(nn.Linear):
    """Linear map with weights from N(0, .02^2) and bias zero."""

    def reset_parameters(self) -> None:
        """Draw anew."""
        nn.init.normal_(self.weight, std=NORMAL_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class EncoderLayer(nn.Module):
    """Attention, then a two-layer network, each added and layer-normalised afterwards."""

    def __init__(self, width: int, feedforward: int, dropout: float, *, normal: bool) -> None:
        super().__init__()
        self.dropout = dropout
        linear = NormalLinear if normal else nn.Linear
        self.self_attn = SelfAttention(width, dropout, NormalLinear if normal else OutProjection)
        self.linear1 = linear(width, feedforward)
        self.linear2 = linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(tokens, width)`` -> ``(tokens, width)``."""
        tokens = self.norm1(tokens + self._drop(self.self_attn(tokens)))
        hidden = self._drop(F.relu(self.linear1(tokens)))
        return self.norm2(tokens + self._drop(self.linear2(hidden)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Meltr(nn.Module):
    """Learned, non-linear unified loss.

    Args:
        names: Losses; row t of the table belongs to ``names[t]``.
        primary: The one of them that is the task.
        weights: Loss name -> weight in the sum that ``output="residual"`` starts from; 1 where
            none is given.
        output: ``residual``: sum + network, the network starting at 0; ``plain``: network alone.
        input: What the network sees: ``ratio`` to the first value of the same loss in training,
            ``log1p`` of the absolute value with the sign, or the ``raw`` value.
        size: ``small`` (about 7,000 parameters) or ``reference`` (about 560,000).
        hidden: Width of the value network, instead of that of ``size``.
        width: Width of the tokens, a multiple of 8, instead of that of ``size``.
        feedforward: Width of the feed-forward part, instead of that of ``size``.
        dropout: Share dropped in training mode, at the three places of the encoder layer. The
            published variants differ (0 or .1); with dropout M is not one function any more.
        slope: ``any``, or ``positive``: no loss is climbed. Slopes a below a tenth f of the loss's
            weight become f exp(a / f - 1), the others stay. The value is then the sum of slopes
            times losses.
        init: First weights of the network: ``torch``, as its layers draw them, or ``normal``, all
            maps and rows from N(0, .02^2) except those to queries, keys and values.

    Raises:
        ValueError: An unknown option, or a width that eight heads cannot share.
    """

    reference: Tensor
    observed: Tensor
    weights: Tensor

    def __init__(
        self,
        *,
        names: Sequence[str],
        primary: str,
        weights: Mapping[str, float] | None = None,
        output: str = "residual",
        input: str = "ratio",  # noqa: A002 - the knob's name in a study
        size: str = "small",
        hidden: int | None = None,
        width: int | None = None,
        feedforward: int | None = None,
        dropout: float = 0.0,
        slope: str = "any",
        init: str = "torch",
    ) -> None:
        super().__init__()
        for knob, given, allowed in (
            ("output", output, OUTPUTS),
            ("input", input, INPUTS),
            ("size", size, tuple(SIZES)),
            ("slope", slope, SLOPES),
            ("init", init, INITS),
        ):
            if given not in allowed:
                raise ValueError(
                    f"combiner meltr: unknown {knob} {given!r}{nearest(given, allowed)} "
                    f"({knob}: {', '.join(allowed)})"
                )
        sizes = zip((hidden, width, feedforward), SIZES[size], strict=True)
        hidden, width, feedforward = (default if own is None else own for own, default in sizes)
        if width < 1 or width % HEADS:
            raise ValueError(f"combiner meltr: width {width} is not a multiple of {HEADS}")
        self.names = checked(names, primary)
        self.primary = primary
        self.output = output
        self.input = input
        self.slope = slope
        normal = init == "normal"
        linear = NormalLinear if normal else nn.Linear
        self.task_embedding = NameRows(self.names, width, NORMAL_STD if normal else 1.0)
        self.loss_fc1 = linear(1, hidden)
        self.loss_fc2 = linear(hidden, width)
        self.encoder = EncoderLayer(width, feedforward, dropout, normal=normal)
        last = ZeroLinear if output == "residual" else linear
        self.fc1 = last(width, 1, bias=False)
        count = len(self.names)
        vector = torch.tensor(weight_list(self.names, weights), dtype=torch.float64)
        self.register_buffer("weights", vector, persistent=False)
        self.register_buffer("reference", torch.ones(count, dtype=torch.float64))
        self.register_buffer("observed", torch.zeros(count, dtype=torch.bool))

    def base(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """The weighted sum that the regulariser of the meta step keeps M close to."""
        chosen = rows(self.names, present, len(losses))
        return (self.weights.to(losses.dtype)[chosen] * losses).sum()

    def forward(self, losses: Tensor, *, present: Sequence[str] | None = None) -> Tensor:
        """The unified loss.

        In training mode with ``input="ratio"``, the first finite value of each loss that is not 0
        becomes its reference, at least .1, once and for all (kept in the state).

        Args:
            losses: ``(losses,)``.
            present: Their names, where some are absent; in any order.

        Returns:
            A scalar, any real number.
        """
        chosen = rows(self.names, present, len(losses))
        if self.training and self.input == "ratio":
            self._observe(losses.detach(), chosen)
        if self.slope == "any":
            return self._unified(losses, chosen)
        with torch.enable_grad():
            point = losses.detach().requires_grad_()
            (found,) = torch.autograd.grad(self._unified(point, chosen), point, create_graph=True)
        return (self._raised(found, chosen) * losses).sum()

    def _unified(self, losses: Tensor, chosen: Sequence[int]) -> Tensor:
        scale = self.loss_fc2(F.relu(self.loss_fc1(self._scaled(losses, chosen).unsqueeze(-1))))
        tokens = self.encoder(scale + self.task_embedding(chosen))
        unified = self.fc1(tokens.mean(0)).squeeze(-1)
        if self.output == "residual":
            unified = unified + (self.weights.to(losses.dtype)[list(chosen)] * losses).sum()
        return unified

    def _raised(self, slopes: Tensor, chosen: Sequence[int]) -> Tensor:
        """Positive and smooth, with a gradient everywhere, so that a slope can come back."""
        lowest = LOWEST_SHARE * self.weights.to(slopes.dtype)[list(chosen)].clamp(min=0.01)
        below = lowest * ((slopes - lowest).clamp(max=0) / lowest).exp()
        return torch.where(slopes > lowest, slopes, below)

    def _scaled(self, losses: Tensor, chosen: Sequence[int]) -> Tensor:
        if self.input == "ratio":
            return losses / self.reference.to(losses.dtype)[list(chosen)]
        if self.input == "log1p":
            return losses.sign() * torch.log1p(losses.abs())
        return losses

    @torch.no_grad()
    def _observe(self, losses: Tensor, chosen: Sequence[int]) -> None:
        """New tensors instead of writing in place: a graph may still hold the old ones."""
        index = torch.tensor(chosen, device=losses.device)
        new = losses.isfinite() & (losses.abs() > SMALLEST_VALUE) & ~self.observed[index]
        first = losses.abs().clamp(min=SMALLEST_REFERENCE).to(self.reference.dtype)
        values = torch.where(new, first, self.reference[index])
        self.reference = self.reference.index_copy(0, index, values)
        self.observed = self.observed.index_copy(0, index, self.observed[index] | new)
