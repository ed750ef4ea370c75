"""Probes: what is fitted to features of a frozen model, to tell classes by them. A row each.

Imports neither torch nor scikit-learn until one is fitted.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from losses.catalogue import index_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    #: Features ``(N, D)`` -> scores ``(N, K)``, higher is likelier; -inf for a class without clips.
    Scores = Callable[[np.ndarray], np.ndarray]

#: Smallest standard deviation that a feature is divided by.
STD_FLOOR = 1e-6
#: Penalties that `ridge` chooses from, per clip.
PENALTIES = tuple(10.0**power for power in range(-4, 3))


class Probe(Protocol):
    """What a row of this table gives."""

    def fit(
        self, features: np.ndarray, labels: np.ndarray, groups: Sequence[str], seed: int
    ) -> Scores:
        """Learn classes.

        Args:
            features: float32 ``(N, D)`` of training clips.
            labels: int64 ``(N,)``, from 0.
            groups: What is not to be torn apart where clips are held out, one name per clip.
            seed: Of whatever is drawn; equal arguments give an equal probe.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """One probe.

    Attributes:
        name: As in `evaluate.probe`.
        target: `module:attribute`, called without arguments; gives a ``Probe``.
        description: One line for people.
        source: Where it comes from.
    """

    name: str
    target: str
    description: str
    source: str

    def load(self) -> Probe:
        """The probe."""
        module, _, name = self.target.partition(":")
        found: Probe = getattr(importlib.import_module(module), name)()
        return found


@dataclass(frozen=True)
class _Standardised:
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> _Standardised:
        import numpy as np

        whole = features.astype(np.float64)
        return cls(whole.mean(0), np.maximum(whole.std(0), STD_FLOOR))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        found: np.ndarray = (features - self.mean) / self.std
        return found


class Linear:
    """Multinomial logistic regression on standardised features, with a penalty on its weights."""

    def fit(
        self, features: np.ndarray, labels: np.ndarray, groups: Sequence[str], seed: int
    ) -> Scores:
        """See ``Probe``."""
        import numpy as np
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        del groups
        standard = _Standardised.of(features)
        classes = int(labels.max()) + 1
        model = LogisticRegression(max_iter=1000, random_state=seed)
        with warnings.catch_warnings():  # after a thousand steps the last digits do not matter
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(standard(features), labels)

        def scores(shown: np.ndarray) -> np.ndarray:
            found = np.full((len(shown), classes), -np.inf)
            found[:, model.classes_] = model.predict_log_proba(standard(shown))
            return found

        return scores


class Ridge:
    """Least squares on one-hot classes, in closed form; the penalty is chosen on a held-out fifth.

    W = (X'X + n lam I)^-1 X'Y on standardised features, Y less its mean.
    """

    def fit(
        self, features: np.ndarray, labels: np.ndarray, groups: Sequence[str], seed: int
    ) -> Scores:
        """See ``Probe``."""
        import numpy as np

        classes = int(labels.max()) + 1
        wanted = np.eye(classes)[labels]
        names = sorted(set(groups))
        order = np.random.default_rng(seed).permutation(len(names))
        held = {names[i] for i in order[: len(names) // 5]}
        out = np.asarray([group in held for group in groups])
        penalty = PENALTIES[len(PENALTIES) // 2]
        if out.any() and len(set(labels[~out])) > 1:
            found = [
                (_ridge(features[~out], wanted[~out], lam)(features[out]).argmax(1) == labels[out])
                for lam in PENALTIES
            ]
            # of equally good ones the strongest
            penalty = max(
                zip(PENALTIES, found, strict=True), key=lambda pair: (pair[1].mean(), pair[0])
            )[0]
        fitted = _ridge(features, wanted, penalty)
        absent = wanted.sum(0) == 0
        return lambda shown: np.where(absent, -np.inf, fitted(shown))


def _ridge(features: np.ndarray, wanted: np.ndarray, penalty: float) -> Scores:
    import numpy as np

    standard = _Standardised.of(features)
    x, mean = standard(features), wanted.mean(0)
    gram = x.T @ x + len(x) * penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (wanted - mean))
    return lambda shown: standard(shown) @ weights + mean


_ROWS = (
    ProbeSpec(
        name="linear",
        target="sweep.evaluation.probes:Linear",
        description="logistic regression on standardised features",
        source="arXiv:1610.01644",
    ),
    ProbeSpec(
        name="ridge",
        target="sweep.evaluation.probes:Ridge",
        description="least squares on one-hot classes, penalty chosen on a fifth of the clips",
        source="doi:10.1080/00401706.1970.10488634",
    ),
)

PROBES: Mapping[str, ProbeSpec] = index_by_name(_ROWS)
