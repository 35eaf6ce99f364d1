"""Fine-tuning a network whose sizes are not the usual ones."""

import torch

from reconad_plugin.config import ProductSettings, TrainingSettings
from reconad_plugin.persistence import load_detector, save_detector
from reconad_plugin.training.fit import NormalImages, fit_detector


def test_fine_tuned_detector_keeps_the_sizes_of_its_base(tiny_detector, make_normal, tmp_path):
    """A fine-tuned version of a narrow network can be saved and loaded."""
    images = NormalImages(make_normal(8, 1), make_normal(4, 2), make_normal(2, 3))
    product = ProductSettings(image_size_px=32)

    tuned, _ = fit_detector(
        images, product, TrainingSettings(steps=2, budget_s=60), base=tiny_detector
    )
    save_detector(tuned, tmp_path)
    loaded = load_detector(tmp_path)

    assert loaded.sizes == tiny_detector.sizes
    new = make_normal(2, 4)
    assert torch.equal(
        torch.from_numpy(loaded.score(new).pred_score),
        torch.from_numpy(tuned.score(new).pred_score),
    )
