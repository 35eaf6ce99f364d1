"""A codebook: each feature vector becomes the nearest of a limited number of codes.

Codes are the running mean of the features that fell to them, start on features of the first batch
and move to other features when nothing falls to them any more. The features themselves learn as
if nothing had been replaced (straight-through).

Source: van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning", NeurIPS
2017, section 3 and appendix A.1, for the codes; Dhariwal et al., "Jukebox", 2020, section 3.1, for
moving those that are not used.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Generator, Tensor, nn

DECAY: Final = 0.99  # of the running mean, a batch; less in the first batches
DEAD_BELOW: Final = 0.05  # of the mean use of a code; rarer ones are moved


@dataclass(frozen=True)
class Quantised:
    """Features and what became of them."""

    features: Tensor  # (B, D, H, W) float32, as they came
    vectors: Tensor  # (B, D, H, W) float32, the nearest codes; gradients go through to the features
    codes: Tensor  # (B, H, W) long, numbers of these codes


@dataclass(frozen=True)
class CodebookUse:
    """How much of a codebook is in use."""

    size: int  # number of codes
    used: int  # codes that occur at all
    # how many codes would be as varied if all were equally frequent, 1 to ``size``
    perplexity: float

    @classmethod
    def of(cls, codes: Tensor, size: int) -> "CodebookUse":
        """Count numbers of codes, of any shape."""
        counts = torch.bincount(codes.flatten(), minlength=size)
        return cls(size, int((counts > 0).sum()), perplexity_of(counts))


class Quantiser(nn.Module):
    """A codebook. All that it has gathered is in its buffers; it has no parameters.

    Args:
        size: number of codes.
        dim: length of a code.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.sums: Tensor  # (K, D) running sum of the features that fell to a code in a batch
        self.counts: Tensor  # (K,) running number of them
        self.batches: Tensor  # learnt from; none: the codes are random
        self.register_buffer("sums", torch.randn(size, dim))
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("batches", torch.zeros(()))

    @property
    def size(self) -> int:
        """Number of codes."""
        return len(self.counts)

    @property
    def codebook(self) -> Tensor:
        """The codes, (K, D)."""
        return self.sums / self.counts[:, None]

    @property
    def perplexity(self) -> float:
        """Of the codes that training features fell to, over about the last hundred batches."""
        return perplexity_of(self.counts)

    def forward(self, features: Tensor, generator: Generator | None = None) -> Quantised:
        """Replace each feature by its nearest code, in float32.

        Args:
            features: (B, D, H, W).
            generator: where to draw moved codes from. With one, and in training mode, the
                codebook learns from these features; else nothing changes.
        """
        with torch.autocast(features.device.type, enabled=False):  # distances need float32
            features = features.float()
            rows = features.detach().movedim(1, -1).flatten(0, 2)  # (B, D, H, W) -> (N, D)
            learns = self.training and generator is not None
            if learns and not self.batches:
                self._start(rows, generator)
            codebook = self.codebook
            nearest = _nearest(rows, codebook)
            codes = nearest.view(-1, *features.shape[2:])
            moved = _vectors(codebook, codes) - features.detach()
            if learns:
                self._learn(rows, nearest, generator)
            return Quantised(features, features + moved, codes)

    def vectors(self, codes: Tensor) -> Tensor:
        """Turn numbers of codes (B, H, W) into the codes (B, D, H, W)."""
        return _vectors(self.codebook, codes)

    def ranking(self) -> Tensor:
        """Rank for each code all codes by their distance from it, itself first: (K, K) int16."""
        codebook = self.codebook
        return torch.cdist(codebook, codebook).argsort(dim=1, stable=True).short()

    def _start(self, rows: Tensor, generator: Generator | None) -> None:
        share = len(rows) / self.size
        self.counts.fill_(share)
        self.sums.copy_(_draw_rows(rows, self.size, generator) * share)

    def _learn(self, rows: Tensor, nearest: Tensor, generator: Generator | None) -> None:
        learnt = float(self.batches)
        decay = min(DECAY, (1 + learnt) / (10 + learnt))  # early features are soon worthless
        found = torch.bincount(nearest, minlength=self.size)
        self.counts.lerp_(found.to(self.counts), 1 - decay)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, nearest, rows), 1 - decay)
        self.batches += 1
        least = DEAD_BELOW * self.counts.mean()
        dead = (self.counts < least).nonzero()[:, 0]
        if len(dead):  # with little weight, so that a few features can place them
            self.counts[dead] = 2 * least
            self.sums[dead] = _draw_rows(rows, len(dead), generator) * 2 * least


def perplexity_of(counts: Tensor) -> float:
    """Compute the exponential of the entropy of (K,) counts: 1 where one code has all, K where all
    are even."""
    share = counts.double() / counts.sum()
    return float(torch.special.entr(share).sum().exp())


def _nearest(rows: Tensor, codebook: Tensor) -> Tensor:
    """Find the number of the nearest code: (N, D), (K, D) -> (N,). The square of a row does not
    decide."""
    squares = codebook.square().sum(1)
    return torch.addmm(squares, rows, codebook.T, alpha=-2).min(1).indices  # argmin is slower


def _vectors(codebook: Tensor, codes: Tensor) -> Tensor:
    return codebook[codes].movedim(-1, 1)  # (B, H, W, D) -> (B, D, H, W)


def _draw_rows(rows: Tensor, count: int, generator: Generator | None) -> Tensor:
    """Draw random rows, each once where there are enough."""
    order = torch.randperm(len(rows), generator=generator)
    repeated = order.repeat(-(-count // len(rows)))[:count]
    return rows[repeated.to(rows.device)]
