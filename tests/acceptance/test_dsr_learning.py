"""What DSR's subspaces learn in a minute: clean codes, and where a defect is."""

import pytest
import torch
import torch.nn.functional as F

from reconad_plugin.config.product import TrainingSettings
from reconad_plugin.detector.torch_engine import score_images
from reconad_plugin.images.light import standard_light
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.dsr import build_dsr
from reconad_plugin.networks.vq import VqAutoencoder
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.simulation.textures import load_textures
from reconad_plugin.training.dsr import SubspacesRecipe, exchange_codes
from reconad_plugin.training.loop import train
from reconad_plugin.training.recipe import Simulation
from reconad_plugin.training.vq import pretrain_vq
from tests.small_dsr import seeded

SIZES = {"width": 16, "code_dim": 8, "codes": 64}


@pytest.fixture(scope="module")
def learnt(make_normal):
    """A DSR at 32 pixels after a short training of the first two phases."""
    images, held_out = make_normal(32, 1), make_normal(8, 2)
    vq, _ = pretrain_vq(images, held_out, load_textures(32), TrainingSettings(steps=150), 0, SIZES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_dsr(ImageSize.square(32), 16, 8, 64, restriction_width=16, unet_width=8)
    network.subspaces.vq.load_state_dict(vq.state_dict())
    simulation = Simulation(PRESETS["electronics"])
    settings = TrainingSettings(steps=300, batch_size=8, learning_rate=3e-3)
    train(SubspacesRecipe(network, simulation), images, held_out[:0], settings, seed=0)
    return network


def test_restriction_keeps_clean_codes_and_changes_damaged_ones(learnt, make_normal):
    """After a short training what it makes of clean codes is nearer to them than of damaged."""
    picture = make_normal(16, 3) / 255
    picture = standard_light(picture, like=picture)
    parts = learnt.subspaces
    with torch.inference_mode():
        vq: VqAutoencoder = parts.vq
        fine = vq(picture).fine
        mask = torch.zeros(16, 8, 8, dtype=torch.bool)
        mask[:, 2:6, 2:6] = True
        codes = exchange_codes(fine.codes, mask, vq.fine_codebook.ranking(), seeded())
        damaged = vq.fine_codebook.vectors(codes)
        from_clean = F.mse_loss(parts.fine_restriction(fine.vectors), fine.vectors)
        from_damaged = F.mse_loss(parts.fine_restriction(damaged), fine.vectors)
        untouched = F.mse_loss(damaged, fine.vectors)

    assert from_clean < from_damaged < untouched


def test_defect_is_found_after_a_short_training(learnt, make_normal, plant_defect):
    """A planted square scores above its clean twin, and the coarse mask points at it."""
    clean = make_normal(12, 6)
    defective = plant_defect(clean)

    with torch.inference_mode():
        mask = learnt.subspaces.anomaly_map(defective / 255)

    scores, defect_scores = (
        score_images(learnt, each, 3).pred_score for each in (clean, defective)
    )
    assert (defect_scores > scores).mean() > 0.9
    assert mask[:, 10:18, 10:18].mean() > mask[:, 20:, 20:].mean()
