"""Normal images to a detector that can decide: train, measure the light, calibrate."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from reconad_plugin.calibration import MIN_CALIBRATION_IMAGES, calibrate
from reconad_plugin.config import ProductSettings, TrainingSettings
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.light import LightReference
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.scoring import Detector, score_images
from reconad_plugin.training.loop import Progress, TrainingReport, train


@dataclass(frozen=True)
class NormalImages:
    """Normal images by what they are for, each (N, 3, S, S) uint8.

    Attributes:
        train: the network learns these.
        calibration: the thresholds come from these.
        judge: kept for the gate; only counted here.
    """

    train: Tensor
    calibration: Tensor
    judge: Tensor


def fit_detector(
    images: NormalImages,
    product: ProductSettings,
    training: TrainingSettings,
    base: Detector | None = None,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Detector, TrainingReport]:
    """Train a detector from scratch, or fine-tune one.

    Args:
        images: normal images; the judge's part is not touched here.
        product: model, size, rates and seed.
        training: steps, budget, rate, augmentation.
        base: start from this detector's weights instead of random ones.
        device: where to train.
        on_progress: called after each step.

    Raises:
        NotEnoughImagesError: fewer training images than the product asks for, or too few to
            calibrate on.
        TrainingDivergedError: the loss is not a number.
    """
    count = len(images.train) + len(images.calibration) + len(images.judge)
    if count < product.min_training_images:
        raise NotEnoughImagesError(
            f"training needs at least {product.min_training_images} accepted normal images; got "
            f"{count}: wait for more, or lower "
            "min_training_images"
        )
    if len(images.calibration) < MIN_CALIBRATION_IMAGES:
        raise NotEnoughImagesError(
            f"a threshold needs at least {MIN_CALIBRATION_IMAGES} held-out normal images; got "
            f"{len(images.calibration)}: wait for more"
        )
    network = _network(product, base)
    recipe = model_spec(product.model).build_recipe(network)
    report = train(
        recipe,
        images.train,
        images.calibration,
        training,
        product.seed,
        device,
        on_progress=on_progress,
    )
    network = network.to("cpu")
    light = LightReference.fit(images.train)
    window_px = model_spec(product.model).score_window_px(product.image_size_px)
    as_they_come = score_images(network, images.calibration, window_px)
    matched = score_images(network, images.calibration, window_px, light=light)
    detector = Detector(
        model=product.model,
        sizes=base.sizes if base else {},
        image_size_px=product.image_size_px,
        network=network,
        light=light,
        calibration=calibrate(as_they_come.pred_score, product.target_fpr),
        matched_calibration=calibrate(matched.pred_score, product.target_fpr),
        limits=product.limits,
    )
    return detector, report


def _network(product: ProductSettings, base: Detector | None) -> AnomalyNetwork:
    if base is not None:
        if (base.model, base.image_size_px) != (product.model, product.image_size_px):
            raise ConfigError(
                "fine-tuning needs the model and image size of the version it starts from, "
                f"{base.model} at {base.image_size_px} px; the settings say {product.model} at "
                f"{product.image_size_px} px: train from scratch"
            )
        return deepcopy(base.network)
    with torch.random.fork_rng(devices=[]):  # initial weights follow the seed, and nothing else
        torch.manual_seed(product.seed)
        return model_spec(product.model).build_network(product.image_size_px)
