"""A training on a device of its own leaves no tensor behind, for every model; needs no GPU."""

import pytest
import torch

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.training import loop, network_fit
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from tests.far_device import far_device

pytestmark = [
    pytest.mark.usefixtures("tiny_models", "few_validations"),
    pytest.mark.filterwarnings("ignore:GANomaly is a baseline"),
    pytest.mark.filterwarnings("ignore:the features are random"),
    pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter"),  # it is copied
]

SIZE_PX = 32
VARIED = TrainingSettings(
    steps=3, batch_size=4, geometric_augmentation="rotate", light_augmentation=True
)


class KilledError(Exception):
    """Ends a training before its time."""


def test_tensors_of_two_devices_do_not_mix():
    """Otherwise the tests below show nothing."""
    with far_device() as device:
        there, here = torch.ones(3, device=device), torch.ones(3)

        assert (there + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="aten::add mixes devices"):
            there + here


def test_training_on_a_device_leaves_none_behind(model, make_normal, tmp_path, monkeypatch):
    """Variation, losses, validations, checkpoints and calibration, and on from a checkpoint."""
    monkeypatch.setattr(network_fit, "check_device", lambda device: None)
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    product = ProductSettings(model=model, image_size_px=SIZE_PX, target_fpr=0.1)
    normal = NormalImages(make_normal(8, 1), make_normal(6, 2), make_normal(2, 3))

    def stop(progress):
        if progress.step == 3:
            raise KilledError

    def run(device, on_progress):
        options = RunOptions(device, torch.float32, tmp_path, on_progress)
        return fit_detector(normal, product, VARIED, options=options)

    with far_device() as device:
        with pytest.raises(KilledError):
            run(device, stop)
        detector, report = run(device, lambda progress: None)

    assert report.steps == 3
    state = detector.engine.network.state_dict()
    assert all(weight.device.type == "cpu" for weight in state.values())
    assert len(detector.score(normal.judge).pred_score) == 2
