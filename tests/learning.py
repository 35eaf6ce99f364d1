"""What a model learns: a planted square stands out after a short training.

The tests of the models that learn in seconds are in ``tests/unit/test_learning.py``, those that
take a minute in ``tests/acceptance/test_learning.py``; both take them from here.
"""

import pytest

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import RunOptions
from tests.environment import DEVICE

pytestmark = [
    pytest.mark.usefixtures("tiny_models", "few_validations"),
    pytest.mark.filterwarnings("ignore:GANomaly is a baseline"),
]

SIZE_PX = 32
SLOW = ("draem", "dsr")
LEARNING = {  # enough for the planted square in any arithmetic, and little more
    "ganomaly": {"steps": 150, "batch_size": 8, "learning_rate": 2e-3},
    "dsr": {"steps": 800, "batch_size": 8, "learning_rate": 3e-3, "preset": "electronics"},
    "draem": {"steps": 300, "batch_size": 8, "learning_rate": 2e-3, "preset": "electronics"},
}
USUAL = {"steps": 150, "batch_size": 8, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def product(model):
    """A product of this model."""
    return ProductSettings(model=model, image_size_px=SIZE_PX, target_fpr=0.1)


@pytest.fixture(scope="module")
def normal(model, make_normal):
    """Normal images by what they are for; DSR learns its codes from more of them."""
    images = 32 if model == "dsr" else 16
    return NormalImages(make_normal(images, 1), make_normal(19, 2), make_normal(4, 3))


@pytest.fixture(scope="module")
def learned(model, product, normal, tiny_models, few_validations):
    """A detector that has learnt what normal looks like."""
    training = TrainingSettings(**LEARNING.get(model, USUAL))
    detector, _ = fit_detector(normal, product, training, options=RunOptions(DEVICE))
    return detector


def test_defect_scores_above_its_clean_twin(model, learned, make_normal, plant_defect):
    """Each image with a planted square scores above the same image without it.

    GANomaly's score compares two latents that hardly know the picture, so of it only the map is
    asked.
    """
    clean = make_normal(12, 6)

    scores, defective = learned.score(clean), learned.score(plant_defect(clean))

    if model == "ganomaly":
        inside = (slice(None), slice(10, 18), slice(10, 18))
        clean_mean = scores.anomaly_map[inside].mean((1, 2))
        assert (defective.anomaly_map[inside].mean((1, 2)) > 2 * clean_mean).all()
    else:
        assert (defective.pred_score > scores.pred_score).all()
        assert (defective.pred_score > learned.calibration.image_threshold).mean() > 0.9


def check_map_points_at_the_defect(model, learned, make_normal, plant_defect):
    """Check that the map is higher within the planted square than elsewhere.

    DSR's upsampler has 120 steps here, after which its map is still grey everywhere.
    """
    maps = learned.score(plant_defect(make_normal(4, 7))).anomaly_map

    inside = maps[:, 10:18, 10:18].mean((1, 2))
    outside = maps[:, 20:, 20:].mean((1, 2))
    assert (inside > (1.1 if model == "dsr" else 1.5) * outside).all()


def test_defect_stands_out_with_the_light_matched(model, learned, make_normal, plant_defect):
    """A planted square scores above its clean twin after matching too."""
    clean = make_normal(12, 8)

    matched = learned.score_matched(clean)
    defective = learned.score_matched(plant_defect(clean))

    if model == "ganomaly":
        inside = (slice(None), slice(10, 18), slice(10, 18))
        assert defective.anomaly_map[inside].mean() > 2 * matched.anomaly_map[inside].mean()
    else:
        assert (defective.pred_score > matched.pred_score).all()


def test_new_normal_images_mostly_pass(learned, make_normal):
    """Of 60 new normal images far fewer than half are labelled anomalous."""
    scores = learned.score(make_normal(60, 9)).pred_score

    assert (scores > learned.calibration.image_threshold).mean() < 0.4
