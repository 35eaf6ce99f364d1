"""A detector on a folder of labelled pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from reconad_plugin.detector import evaluation
from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.calibration_groups import CalibrationGroups
from reconad_plugin.detector.evaluation import DefectFigures
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.images.folder import read_folder
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.store.mirror import load_files

SIZE_PX = 32
NORMAL = (20, 30, 40, 60)  # the brightest pixel of each picture
HOLES = (50, 70, 80)
STAINS = (10,)


def evaluate(detector, folder):
    """The figures of a detector on the test split of a folder."""
    found = read_folder(folder)
    paths = [file.path for file in found.test]
    images = load_files(paths, detector.image_size_px, detector.limits, folder / "cache")
    return evaluation.evaluate(detector, found, images)


class Brightness(AnomalyNetwork):
    """Rebuilds black, so that its map is the picture's red; the score is the brightest pixel."""

    smooths_map = False

    def reconstruct(self, image):
        return torch.zeros_like(image)

    def anomaly_map(self, image):
        return image[:, 0]

    def image_score(self, image, smoothed_map):
        return image[:, 0].amax((-2, -1))


@pytest.fixture
def detector(tiny_detector):
    """Scores a picture by its brightest pixel; above 45 of 255 it is labelled anomalous."""
    calibration = replace(tiny_detector.calibration, image_threshold=45 / 255)
    return replace(
        tiny_detector, engine=TorchEngine(Brightness().eval(), 1), calibration=calibration
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Black pictures with a bright spot, which in defects is the defect."""
    monkeypatch.chdir(tmp_path)  # where the cache goes
    kinds = {"train/good": (20,), "test/good": NORMAL, "test/hole": HOLES, "test/stain": STAINS}
    for kind, levels in kinds.items():
        for number, level in enumerate(levels):
            save(tmp_path / "parts" / kind / f"{number}.png", spot(level))
    for kind, levels in (("hole", HOLES), ("stain", STAINS)):
        for number in range(len(levels)):
            save(tmp_path / "parts" / "ground_truth" / kind / f"{number}.png", spot(255))
    return tmp_path / "parts"


def spot(level):
    picture = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    picture[8:12, 8:12] = level
    return picture


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def test_figures_by_hand(detector, folder):
    """One of four normal pictures is above the threshold, and three of four with a defect."""
    found = evaluate(detector, folder)

    assert found.images == {"good": 4, "hole": 3, "stain": 1}
    assert (found.fpr, found.recall, found.escape_rate) == (1 / 4, 3 / 4, 1 / 4)
    assert found.image_AUROC == pytest.approx(11 / 16)
    assert found.image_F1Score == pytest.approx(2 * 3 / (3 + 1 + 4))
    assert found.image_F1_best == pytest.approx(2 * 3 / (3 + 1 + 4))
    assert found.image_F1_best_threshold == pytest.approx(40 / 255)
    assert found.defects == {
        "hole": DefectFigures(images=3, image_AUROC=pytest.approx(11 / 12), recall=1.0),
        "stain": DefectFigures(images=1, image_AUROC=0.0, recall=0.0),
    }


def test_intervals_enclose_their_shares(detector, folder):
    """Four images say little, and the interval tells."""
    found = evaluate(detector, folder)

    assert 0 < found.fpr_interval[0] < found.fpr < found.fpr_interval[1] < 1
    assert found.fpr_interval[1] - found.fpr_interval[0] > 0.5
    assert found.recall_interval == pytest.approx([1 - end for end in found.fpr_interval[::-1]])


def test_pixels_come_chunk_by_chunk(detector, folder, monkeypatch):
    """Maps and masks of several chunks are those of one picture after the other."""
    monkeypatch.setattr("reconad_plugin.detector.evaluation._CHUNK", 3)

    found = evaluate(detector, folder)

    mask = spot(1)[..., 0] == 1
    levels = np.array(NORMAL + HOLES + STAINS)
    maps = levels[:, None, None] * mask
    masks = mask & (np.arange(len(levels)) >= len(NORMAL))[:, None, None]
    assert found.pixel_AUROC == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()))


def test_without_masks_there_are_no_pixel_figures(detector, folder):
    """One defect without a mask leaves the pixels out, not the images."""
    (folder / "ground_truth" / "stain" / "0.png").unlink()

    found = evaluate(detector, folder)

    assert (found.pixel_AUROC, found.pixel_AP, found.pixel_AUPRO) == (None, None, None)
    assert found.recall == 3 / 4


def test_each_image_is_held_against_the_threshold_of_its_light(detector, folder):
    """With a level of light that lets everything pass, no picture is labelled anomalous."""
    strict = calibrate([0.9, 0.95, 0.99], 0.3, [0.9, 0.95, 0.99])
    levels = CalibrationGroups((0.5,), (strict, strict))

    found = evaluate(replace(detector, light_levels=levels), folder)

    assert (found.fpr, found.recall, found.escape_rate) == (0, 0, 1)
    assert found.image_AUROC == pytest.approx(11 / 16)


@pytest.mark.parametrize("kind", ["good", "hole"])
def test_both_kinds_of_images_are_needed(detector, tmp_path, kind):
    """What cannot be compared is an error that counts what is there."""
    save(tmp_path / "train" / "good" / "0.png", spot(20))
    save(tmp_path / "test" / kind / "0.png", spot(20))

    counts = "1 and 0" if kind == "good" else "0 and 1"
    with pytest.raises(NotEnoughImagesError, match=f"normal and defect images .* has {counts}"):
        evaluate(detector, tmp_path)
