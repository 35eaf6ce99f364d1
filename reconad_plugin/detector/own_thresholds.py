"""A threshold of each context, as a multiple of that of all.

Held against its own normal map a context may still score higher than others: its images differ
more from each other. Its maps are divided by its multiple, so that one threshold serves all, and
whoever reads a score reads one number.

Source: Efron and Morris, "Stein's Estimation Rule and Its Competitors - An Empirical Bayes
Approach", JASA 68, 1973, for the drawing towards the threshold of all.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reconad_plugin.metrics.intervals import index_parts

# held-out images, or parts, of a context with a threshold of its own: each is held against three
# others, whose median no single one sets
LEAST_IMAGES: Final = 4
_LEAST_SCORE: Final = 0.1  # in deviations; what is lower counts as this
_OF_A_MEDIAN: Final = math.pi / 2  # its variance, of that of a mean of as many

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OwnThresholds:
    """Multiples of the threshold of all."""

    of_contexts: Mapping[str, float]  # of those with enough held-out images; of others it is 1
    # (N,) that of the context of each held-out image, as if the image, and others of its part, had
    # no say
    of_images: Floats

    @classmethod
    def fit(
        cls, scores: Floats, contexts: Sequence[str], parts: Sequence[str] = ()
    ) -> "OwnThresholds":
        """Learn them from (N,) scores of held-out normal images of (N,) contexts; '' is none.

        A context's is the median of its scores over that of all, which no single image sets. Few
        images say little of it, so its logarithm is drawn to 0, by as much as the contexts differ
        less than such medians do by chance. ``parts`` names the part that each image shows; empty:
        each one of its own.
        """
        told, of_part = np.array(contexts, dtype=object), index_parts(parts, len(scores))
        own = {name: np.flatnonzero(told == name) for name in sorted({*contexts} - {""})}
        own = {name: at for name, at in own.items() if _count(of_part[at]) >= LEAST_IMAGES}
        levels, of_images = np.log(np.maximum(scores, _LEAST_SCORE)), np.ones(len(scores))
        if len(own) < 2:
            return cls({}, of_images)
        spread = _Spread.fit([(levels[at], of_part[at]) for at in own.values()])
        for at in own.values():
            for image in at:
                others = at[of_part[at] != of_part[image]]
                of_images[image] = spread.multiple(levels[others], of_part[others])
        multiples = {name: spread.multiple(levels[at], of_part[at]) for name, at in own.items()}
        return cls(multiples, of_images)


@dataclass(frozen=True)
class _Spread:
    """How logarithms of scores differ within contexts, and how their medians do."""

    middle: float  # the median of all
    within: float  # variance within a context
    between: float  # variance of the medians, less what it is by chance

    @classmethod
    def fit(cls, contexts: Sequence[tuple[Floats, NDArray[np.intp]]]) -> "_Spread":
        """Measure them on the logarithms, and the parts, of at least two contexts."""
        every = np.concatenate([levels for levels, _ in contexts])
        within = float(np.mean([levels.var(ddof=1) for levels, _ in contexts]))
        chance = _OF_A_MEDIAN * within * np.mean([1 / _count(parts) for _, parts in contexts])
        between = np.var([np.median(levels) for levels, _ in contexts], ddof=1) - chance
        return cls(float(np.median(every)), within, max(0.0, float(between)))

    def multiple(self, levels: Floats, parts: NDArray[np.intp]) -> float:
        """Return the threshold of a context by some of its images, of that of all."""
        if not self.between:
            return 1.0
        unsure = _OF_A_MEDIAN * self.within / _count(parts)
        trust = self.between / (self.between + unsure)
        return math.exp(trust * (float(np.median(levels)) - self.middle))


def _count(parts: NDArray[np.intp]) -> int:
    return len({*parts.tolist()})
