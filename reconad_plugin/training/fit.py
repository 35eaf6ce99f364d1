"""Normal images to a detector that can decide: train, measure the light, calibrate."""

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor

from reconad_plugin.config import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import MIN_CALIBRATION_IMAGES, calibrate
from reconad_plugin.detector.calibration_groups import (
    CalibrationGroups,
    calibrate_by_light,
    luminances,
)
from reconad_plugin.detector.detector import Detector, Scores, score_images
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.light import LightReference
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.networks.dsr import Dsr
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.networks.vq import VqAutoencoder
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.simulation.textures import PACKAGED_TEXTURES, Textures, load_textures
from reconad_plugin.store.mirror import local_folder
from reconad_plugin.training.loop import Progress, TrainingReport
from reconad_plugin.training.phases import train_phases
from reconad_plugin.training.recipe import Simulation

FINETUNE_RATE_SHARE: Final = 0.5  # of the model's learning rate, when it starts from a version


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
    checkpoint_folder: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    vq: VqAutoencoder | None = None,
) -> tuple[Detector, TrainingReport]:
    """Train a detector from scratch, or fine-tune one.

    Args:
        images: normal images; the judge's part is not touched here.
        product: model, size, rates and seed.
        training: steps, budget, rate, augmentation.
        base: start from this detector's weights instead of random ones.
        device: where to train.
        checkpoint_folder: where the training's state is kept, to go on after a kill.
        on_progress: called after each step.
        vq: what DSR stands on, of any size, instead of learning that first; a base has its own.

    Raises:
        NotEnoughImagesError: fewer training images than the product asks for, or too few to
            calibrate on.
        ConfigError: the device is not there, or the base is another model.
        TrainingDivergedError: the loss is not a number.
        CodebookCollapsedError: a codebook is hardly used.
    """
    count = len(images.train) + len(images.calibration) + len(images.judge)
    if count < product.min_training_images:
        raise NotEnoughImagesError(
            f"training needs at least {product.min_training_images} accepted normal images; got "
            f"{count}: bring more, or lower min_training_images of the product; under 10 images "
            "no model that is trained on them alone fits"
        )
    check_device(device)
    if len(images.calibration) < MIN_CALIBRATION_IMAGES:
        raise NotEnoughImagesError(
            f"a threshold needs at least {MIN_CALIBRATION_IMAGES} held-out normal images; got "
            f"{len(images.calibration)}: wait for more"
        )
    spec = model_spec(product.model)
    if spec.warning:
        warnings.warn(spec.warning, stacklevel=2)
    architecture = _architecture(product, base, vq)
    network = _network(product, architecture, base, vq)
    textures = textures_of(training, product.image_size_px).to(device)
    simulation = Simulation(PRESETS[training.preset], textures)
    window_px = spec.score_window_px(product.image_size_px)
    report = train_phases(
        network,
        [each for each in spec.phases if not each.is_foundation or (base is None and vq is None)],
        lambda phase: spec.build_recipe(network, simulation, product.options, phase),
        images.train,
        images.calibration,
        training,
        product.seed,
        window_px,
        rate_share=1.0 if base is None else FINETUNE_RATE_SHARE,
        device=device,
        checkpoint_folder=checkpoint_folder,
        on_progress=on_progress,
    )
    network = network.to("cpu")
    light = LightReference.fit(images.train)
    as_they_come = score_images(network, images.calibration, window_px)
    matched = score_images(network, images.calibration, window_px, light=light)
    detector = Detector(
        model=product.model,
        architecture=architecture,
        image_size_px=product.image_size_px,
        network=network,
        light=light,
        calibration=calibrate(as_they_come.pred_score, product.target_fpr, as_they_come.map_maxima),
        matched_calibration=calibrate(matched.pred_score, product.target_fpr, matched.map_maxima),
        limits=product.limits,
        light_levels=_light_levels(images, as_they_come, product),
    )
    return detector, report


def _light_levels(
    images: NormalImages, held_out: Scores, product: ProductSettings
) -> CalibrationGroups | None:
    if product.calibrate_by == "none":
        return None
    try:
        return calibrate_by_light(
            luminances(images.train),
            luminances(images.calibration),
            held_out.pred_score,
            product.target_fpr,
            held_out.map_maxima,
        )
    except NotEnoughImagesError as error:
        warnings.warn(f"{error}; one threshold holds for all light until then", stacklevel=3)
        return None


def check_device(device: str) -> None:
    """Raise a ConfigError where a device is not there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device must be there; got {device!r}: {reason}") from None


def _architecture(
    product: ProductSettings, base: Detector | None, vq: VqAutoencoder | None
) -> dict[str, float]:
    """Arguments of the network's builder: what it stands on has its own sizes."""
    architecture = dict(product.architecture)
    for ours, theirs in model_spec(product.model).vq_sizes.items():
        if base is not None and ours in base.architecture:
            architecture[ours] = base.architecture[ours]
        elif vq is not None:
            architecture[ours] = vq.sizes[theirs]
    return architecture


def _network(
    product: ProductSettings,
    architecture: dict[str, float],
    base: Detector | None,
    vq: VqAutoencoder | None,
) -> AnomalyNetwork:
    if base is not None:
        started = (base.model, base.image_size_px, base.architecture)
        wished = (product.model, product.image_size_px, architecture)
        if started != wished:
            raise ConfigError(
                "fine-tuning needs the model, image size and width of the version it starts from, "
                f"{_in_words(*started)}; the settings say {_in_words(*wished)}: train from scratch"
            )
        return deepcopy(base.network)
    with torch.random.fork_rng(devices=[]):  # initial weights follow the seed, and nothing else
        torch.manual_seed(product.seed)
        network = model_spec(product.model).build_network(product.image_size_px, **architecture)
    if vq is not None:  # of the one model that has sizes for it
        cast(Dsr, network).subspaces.vq.load_state_dict(vq.state_dict())
    return network


def _in_words(model: str, image_size_px: int, architecture: Mapping[str, float]) -> str:
    sizes = ", ".join(f"{name}={value}" for name, value in architecture.items())
    return f"{model} at {image_size_px} px ({sizes})"


def textures_of(training: TrainingSettings, size_px: int) -> Textures:
    """The pictures that a training draws textures from.

    Raises:
        NotEnoughImagesError: the folder holds no picture.
        StorageError: the bucket cannot be read.
    """
    if training.textures is None:
        return load_textures(size_px, PACKAGED_TEXTURES)
    return load_textures(size_px, local_folder(training.textures))
