"""Which pixels an evaluation counts."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reconad_plugin.detector import evaluation
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.folder import read_folder
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.store.mirror import load_files

SIZE_PX = 32


def evaluate(detector, folder, *protocol):
    """The figures of a detector on the test split of a folder."""
    paths = [file.path for file in folder.test]
    images = load_files(paths, detector.image_size_px, detector.limits)
    return evaluation.evaluate(detector, folder, images, *protocol)


class Brightness(AnomalyNetwork):
    """Its map is the picture's red."""

    smooths_map = False

    def reconstruct(self, image):
        return 0 * image

    def anomaly_map(self, image):
        return image[:, 0]


@pytest.fixture
def detector(tiny_detector):
    """Maps a picture by its brightness."""
    return replace(tiny_detector, engine=TorchEngine(Brightness().eval(), 1))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A defect that is found in the middle, and another that is missed at the border."""
    monkeypatch.chdir(tmp_path)  # where the cache goes
    picture, mask = np.zeros((2, SIZE_PX, SIZE_PX), np.uint8)
    picture[10:20, 10:20] = mask[10:20, 10:20] = 255
    mask[:2] = 255
    for name, pixels in {
        "train/good/0": 0 * picture,
        "test/good/0": 0 * picture,
        "test/hole/0": picture,
        "ground_truth/hole/0": mask,
    }.items():
        file = tmp_path / "parts" / f"{name}.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(pixels).save(file)
    return read_folder(tmp_path / "parts")


def test_crop_counts_the_middle_alone(detector, folder):
    """What is missed within the sixteenth at each border is no part of the cropped figures."""
    whole, cropped = evaluate(detector, folder), evaluate(detector, folder, "centre-crop")

    assert whole.pixel_AP < 0.8
    assert cropped.pixel_AP == pytest.approx(1)
    assert (whole.protocol, cropped.protocol) == ("whole", "centre-crop")
    assert whole.image_AUROC == cropped.image_AUROC


def test_unknown_protocol_is_refused(detector, folder):
    """The message lists what there is."""
    with pytest.raises(ConfigError, match="one of whole, centre-crop; got 'crop'"):
        evaluate(detector, folder, "crop")
