"""A detector of few and untrained weights to export, and the pictures that it is exported on.

``from tests.small_engines import *`` brings the fixture.
"""

from dataclasses import replace

import pytest
import torch

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.engine import ENGINES
from reconad_plugin.detector.engine_export import ExportImages
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.images.light import fit_light
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.autoencoder import build_autoencoder

__all__ = ["images"]

SIZE = ImageSize.square(32)
FPR = 0.1
OPENVINO = ENGINES["openvino"]


def build(normal, seed, **parts):
    """A detector with few and untrained weights, calibrated on the pictures."""
    sizes = {"width": 4, "latent_dim": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_autoencoder(SIZE, **sizes).eval().to(memory_format=torch.channels_last)
    light, nothing = fit_light(torch.from_numpy(normal)), calibrate([0.0, 1.0], FPR)
    of_it = (light, nothing, nothing, ImageLimits())
    engine = TorchEngine(network, window_px=1)
    return calibrated(Detector("ae", sizes, SIZE, engine, *of_it, **parts), normal)


def calibrated(detector, normal):
    """The detector with thresholds that rest on these pictures."""
    as_they_come, matched = detector.score(normal), detector.score_matched(normal)
    return replace(
        detector,
        calibration=calibrate(as_they_come.pred_score, FPR, as_they_come.map_maxima),
        matched_calibration=calibrate(matched.pred_score, FPR, matched.map_maxima),
    )


@pytest.fixture(scope="module")
def images(make_normal, plant_defect):
    """Pictures that were learnt, that thresholds rest on, and others."""
    normal = [make_normal(count, seed).numpy() for count, seed in ((8, 1), (20, 2), (10, 3))]
    return ExportImages(*normal, plant_defect(make_normal(10, 4)).numpy())
