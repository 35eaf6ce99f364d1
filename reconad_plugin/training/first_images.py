"""Which of the first images stand out from the others, before any version says what is normal.

Frozen features (``networks.fre``) are fitted to all but each share of the images, and map that
share. What an image shows at a cell is held against what the others show there, and its score
against theirs. All of it is done twice: the second time the highest scores of the first have no say
in what is normal, so that a few defects do not hide each other.

Source: cross-fitting against defects among the normal images, MeDS (arXiv 2605.26676); leaving out
and fitting again, Rousseeuw and Van Driessen, "A Fast Algorithm for the Minimum Covariance
Determinant Estimator", Technometrics 41, 1999.
"""

from collections.abc import Sequence
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.detector.batch import smooth_map
from reconad_plugin.detector.normal_map import MapSums
from reconad_plugin.images.light import standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.metrics.intervals import index_parts
from reconad_plugin.networks.fre import FeatureReconstruction
from reconad_plugin.networks.registry import backbone_of, model_spec
from reconad_plugin.training.fre import residual_directions, split_directions

SIZE: Final = ImageSize.square(128)  # that the images are looked at
LEAST_IMAGES: Final = 20  # or parts; fewer do not tell an odd one from the spread of the others
# an image stands out from so many deviations on; see docs/decisions/0032
MOST_DEVIATIONS: Final = 5.0
MOST_HELD: Final = 0.1  # share of the images; more of them are a second kind of picture
LEAST_OTHERS: Final = 5  # that a map is held against
_BLOCK: Final = 1000  # images, or parts, that are held against each other: memory is bounded
_SHARES: Final = 5
_LEFT_OUT: Final = 0.2  # share of the images, those that score highest
_ROUNDS: Final = 2
_BATCH: Final = 16
_NORMAL_MAD: Final = 1.4826  # deviations of a normal law in its median absolute deviation
_LEAST_SCORE: Final = 1e-3  # of which a logarithm is taken
_MODEL: Final = "fre"

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def find_outliers(deviations: Floats) -> Flags:
    """Say which images, (N,) of ``measure_deviations``, a person has to look at: (N,) bool. None
    where more than a tenth of them stand out."""
    is_out = deviations > MOST_DEVIATIONS
    return is_out if is_out.mean() <= MOST_HELD else np.zeros(len(is_out), bool)


def measure_deviations(
    images: NDArray[np.uint8], features: str | None, parts: Sequence[str] = (), seed: int = 0
) -> Floats:
    """Measure how far each image's score lies above those of the others: (N,), in deviations of the
    logarithm, which the middle half of the scores tells. All 0 of fewer than ``LEAST_IMAGES``.

    Args:
        images: (N, 3, S, S), thought to be normal.
        features: what weights are meant; see ``pretrained_features.find_weights``.
        parts: the part that each shows, which is held against other parts alone; empty: each is
            one of its own.
        seed: of the filters where these are random.
    """
    of_part = index_parts(parts, len(images))
    found, count = np.zeros(len(images)), int(of_part.max(initial=-1)) + 1
    if count < LEAST_IMAGES:
        return found
    network, blocks = _build(ImageSize.of(images.shape), features, seed), -(-count // _BLOCK)
    for block in range(blocks):
        index = np.flatnonzero(of_part % blocks == block)
        described = _describe(network, torch.from_numpy(images[index]))
        found[index] = _of_block(described, of_part[index] // blocks)
    return found


def _of_block(described: Tensor, of_part: NDArray[np.intp]) -> Floats:
    """(N, H, W, C) features and (N,) numbers of parts -> (N,) deviations."""
    window = model_spec(_MODEL).score_window_px(ImageSize(*described.shape[1:3]))
    is_kept = np.ones(len(described), bool)
    for _ in range(_ROUNDS):
        maps = np.empty(described.shape[:3], np.float32)
        for number in range(_SHARES):
            mine = of_part % _SHARES == number
            mean, residual = _fit(described[torch.from_numpy(~mine & is_kept)])
            error = (described[torch.from_numpy(mine)] - mean) @ residual  # (M, H, W, R)
            maps[mine] = smooth_map(error.square().sum(-1).sqrt(), window).numpy()
        scores = np.log(_scores(maps, of_part, is_kept))
        is_kept = scores <= np.quantile(scores, 1 - _LEFT_OUT)
    spread = _NORMAL_MAD * float(np.median(np.abs(scores - np.median(scores))))
    return np.asarray((scores - np.median(scores)) / max(spread, 1e-6), np.float64)


def _scores(maps: NDArray[np.float32], of_part: NDArray[np.intp], is_kept: Flags) -> Floats:
    """Score (N, H, W) maps by their highest cell, less what other parts that count show there."""
    scores = np.full(len(maps), _LEAST_SCORE)
    for part in np.unique(of_part):
        own = of_part == part
        others = maps[is_kept & ~own]
        if len(others) >= LEAST_OTHERS:
            normal = MapSums.of(others).normal_map()
            left = normal.deviations(maps[own]).max((-2, -1))
            scores[own] = np.maximum(left, np.float32(_LEAST_SCORE))
    return scores


def _fit(described: Tensor) -> tuple[Tensor, Tensor]:
    """Fit mean (C,) and residual (C, R) to (N, H, W, C) features."""
    patches = described.flatten(0, 2)
    centred = patches - patches.mean(0)
    covariance = (centred.T @ centred).double() / len(centred)
    return patches.mean(0), residual_directions(*split_directions(covariance)).float()


def _build(size: ImageSize, features: str | None, seed: int) -> FeatureReconstruction:
    spec = model_spec(_MODEL)
    backbone = backbone_of(features)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = spec.build_network(size, **({"backbone": backbone} if backbone else {}))
    spec.load_pretrained(network, features)
    return cast(FeatureReconstruction, network.eval())


def _describe(network: FeatureReconstruction, images: Tensor) -> Tensor:
    with torch.inference_mode():
        batches = (batch.float() / 255 for batch in images.split(_BATCH))
        return torch.cat([network.describe(standard_light(each, like=each)) for each in batches])
