"""Normal images to a detector that can decide: train, measure the light, calibrate."""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import MIN_CALIBRATION_IMAGES, Calibration, calibrate
from reconad_plugin.detector.contexts import ContextMaps
from reconad_plugin.detector.detector import Detector, Scores, Witness
from reconad_plugin.detector.fusion import LEAST_IMAGES
from reconad_plugin.detector.torch_engine import TorchEngine, network_of
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.lens import limits_with
from reconad_plugin.images.light import fit_light
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.metrics.intervals import index_parts
from reconad_plugin.networks.base import AnomalyNetwork, FoundationNetwork
from reconad_plugin.networks.registry import Option, Phase, backbone_of, model_spec
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.simulation.textures import PACKAGED_TEXTURES, Textures, load_textures
from reconad_plugin.training.held_out_scores import (
    HeldOutScores,
    are_shared_out,
    cross_fit,
    join_held_out,
    order_of_shares,
    score_held_out,
    take_normal_map,
)
from reconad_plugin.training.held_out_windows import join_windows
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import DEFAULTS, RunOptions
from reconad_plugin.training.phases import train_phases
from reconad_plugin.training.recipe import Recipe, Simulation
from reconad_plugin.training.report import TrainingReport
from reconad_plugin.training.views import cut_views, shrink

FINETUNE_LEARNING_RATE_SHARE: Final = 0.5  # of the model's, when it starts from a version


def fit_detector(
    images: NormalImages,
    product: ProductSettings,
    training: TrainingSettings,
    base: Detector | None = None,
    foundation: FoundationNetwork | None = None,
    options: RunOptions = DEFAULTS,
    region: Region | None = None,
) -> tuple[Detector, TrainingReport]:
    """Train a detector from scratch, or fine-tune one.

    Args:
        images: normal images as they come; the judge's part is not touched here.
        product: model, size, rates and seed.
        training: steps, budget, learning rate, variations; textures in a folder of this machine.
        base: start from this detector's weights instead of random ones.
        foundation: what the model is to stand on, of any size, instead of learning that first; a
            base has its own.
        options: device, precision, checkpoints, progress.
        region: where to look in them; everywhere where None. Its union is learnt and calibrated on.

    Raises:
        NotEnoughImagesError: fewer training images than the product asks for, or too few to
            calibrate on.
        ConfigError: the device is not there, the base is another model, or there is a region and
            pictures are seen in windows.
        TrainingDivergedError: the loss is not a number.
        CodebookCollapsedError: a codebook is hardly used.
    """
    for name in (product.model, product.witness):
        if region is not None and name and model_spec(name).is_of_whole_pictures:
            raise ConfigError(f"{name} is of whole pictures; got it with a region: leave one out")
    shown = images.calibration if len(images.calibration) else images.train
    if (lens := images.lens) is not None:  # all is learnt from straight pictures
        seen = None if region is None else lens.straighten_region(region)
        detector, report = fit_detector(
            images.straight, product, training, base, foundation, options, seen
        )
        limits = limits_with(lens, detector.limits)
        detector = replace(detector, lens=lens, region=region, limits=limits)
        return detector.with_self_test(shown[0].numpy()), report
    if base is not None and base.light_levels is not None:
        warnings.warn(
            "the version that it starts from has thresholds by light; from now on one holds for "
            "all light",
            stacklevel=2,
        )
    beside = product.of_witness
    pictures = ImageSize.of(images.train.shape)
    held_out = len(images.calibration)
    is_cross_fitted = base is None and model_spec(product.model).is_cross_fitted
    if is_cross_fitted and are_shared_out(len(images.train), images.train_parts):
        held_out += len(images.train)
    if beside is not None and held_out < LEAST_IMAGES:
        otherwise = "leave the witness out" if base is None else "train from scratch"
        raise NotEnoughImagesError(
            f"a witness needs at least {LEAST_IMAGES} held-out normal images; got {held_out}: "
            f"bring more normal images, or {otherwise}"
        )
    small, within, size = images, region, product.image_size
    if beside is not None and not product.windows and pictures != size:  # the witness sees more
        small, within = images.at(size), None if region is None else region.at(size)
        beside = beside.with_image_size(pictures)
    detector, report, normal = _fit(small, product, training, base, foundation, options, within)
    if beside is not None:
        its_base = base.witness.detector if base is not None and base.witness is not None else None
        quiet = replace(options, checkpoint_folder=None, on_progress=DEFAULTS.on_progress)
        second, its_report, its_normal = _fit(
            images, beside, training, its_base, None, quiet, region
        )
        witness = Witness(second, detector.calibration)
        normal = join_held_out(normal, its_normal, witness)
        detector = replace(
            detector,
            calibration=_calibrate(normal.as_they_come, normal.parts, product),
            matched_calibration=_calibrate(normal.matched, normal.parts, product),
            witness=witness,
            image_size_px=pictures,
            shrunk_to=None if small is images else size,
            region=region,
        )
        detector = replace(detector, contexts=_with_counts(detector, normal))
        report = replace(report, elapsed_s=report.elapsed_s + its_report.elapsed_s)
    return detector.with_self_test(shown[0].numpy()), report


def _fit(
    images: NormalImages,
    product: ProductSettings,
    training: TrainingSettings,
    base: Detector | None,
    foundation: FoundationNetwork | None,
    options: RunOptions,
    region: Region | None,
) -> tuple[Detector, TrainingReport, HeldOutScores]:
    """Train the first network of a product, and calibrate it alone; see ``fit_detector``."""
    count = len(images.train) + len(images.calibration) + len(images.judge)
    if count < product.min_training_images:
        raise NotEnoughImagesError(
            f"training needs at least {product.min_training_images} accepted normal images; got "
            f"{count}: bring more, or lower min_training_images of the product; under 10 images "
            "no model that is trained on them alone fits"
        )
    check_device(options.device)
    if len(images.calibration) < MIN_CALIBRATION_IMAGES:
        raise NotEnoughImagesError(
            f"a threshold needs at least {MIN_CALIBRATION_IMAGES} held-out normal images; got "
            f"{len(images.calibration)}: wait for more"
        )
    if region is not None and product.windows:
        raise ConfigError(
            "a region is of pictures that are seen as a whole; got one and windows = true: leave "
            "one of them out"
        )
    spec, size = model_spec(product.model), product.image_size
    if spec.warning:
        warnings.warn(spec.warning, stacklevel=2)
    architecture = _architecture(product, base, foundation)
    network = _network(product, architecture, base, foundation)
    textures = replace(textures_of(training, size), defects=images.defects).to(options.device)
    inside = None if region is None else region.union
    looked_at = None if inside is None else torch.from_numpy(inside)
    simulation = Simulation(PRESETS[training.preset], textures, looked_at)
    window_px = spec.score_window_px(size)

    def begin(phase: Phase, network: AnomalyNetwork = network) -> Recipe:
        recipe: Recipe = spec.build_recipe(network, simulation, product.options, phase)
        if base is not None:
            recipe.learning_rate *= FINETUNE_LEARNING_RATE_SHARE
        return recipe

    copies_s = list[float]()

    def see(images: NormalImages) -> NormalImages:
        return cut_views(images, size, product.seed) if product.windows else images

    def fit_copy(train: Tensor) -> AnomalyNetwork:
        copy, none = deepcopy(network), train[:0]
        recipes = {phase: partial(begin, phase, copy) for phase in spec.phases}
        quiet = replace(options, checkpoint_folder=None, on_progress=DEFAULTS.on_progress)
        part = see(NormalImages(train, none, none))
        fitted = train_phases(copy, recipes, part, training, product.seed, window_px, quiet)
        copies_s.append(fitted.elapsed_s)
        return copy.to("cpu")

    is_founded = base is not None or foundation is not None
    phases = [phase for phase in spec.phases if not (phase.is_foundation and is_founded)]
    recipes = {phase: partial(begin, phase) for phase in phases}
    report = train_phases(network, recipes, see(images), training, product.seed, window_px, options)
    network = network.to("cpu")
    whole = shrink(images.train, size) if product.windows else images.train
    light = fit_light(whole)
    copies, parts = [], images.calibration_parts
    has_contexts = product.contexts and not product.windows
    learnt_from, positions = images.positions if has_contexts else ((), ())
    if spec.is_cross_fitted and base is None:  # a fine-tuning repeats images
        copies = cross_fit(images.train, fit_copy, images.train_parts)
        parts += order_of_shares(images.train_parts, images.train_parts) if copies else ()
        positions += order_of_shares(learnt_from, images.train_parts) if copies else ()
        report = replace(report, elapsed_s=report.elapsed_s + sum(copies_s))
    held_out = [(network, images.calibration), *copies]
    seen = [(each, shrink(of, size)) for each, of in held_out] if product.windows else held_out
    normal = score_held_out(seen, window_px, light, inside)
    normal = replace(normal, parts=parts, positions=positions)
    if spec.has_normal_map:
        learnt = [] if copies else [(network, whole)]
        normal = take_normal_map(normal, learnt, window_px, inside, learnt_from if learnt else ())
    windows = None
    if product.windows:
        normal, windows = join_windows(held_out, normal, size, window_px, light, product.target_fpr)
    detector = Detector(
        model=product.model,
        architecture=architecture,
        image_size_px=ImageSize.of(images.train.shape) if windows else size,
        engine=TorchEngine(network, window_px),
        light=light,
        calibration=_calibrate(normal.as_they_come, normal.parts, product),
        matched_calibration=_calibrate(normal.matched, normal.parts, product),
        limits=product.limits,
        normal_map=normal.normal_map,
        windows=windows,
        region=region,
    )
    if normal.contexts is not None:
        contexts = replace(normal.contexts, pattern=product.position_pattern)
        detector = replace(detector, contexts=contexts)
    return replace(detector, contexts=_with_counts(detector, normal)), report, normal


def _with_counts(detector: Detector, normal: HeldOutScores) -> ContextMaps | None:
    """Count the held-out images of each context, their parts, and those above the threshold."""
    if (contexts := detector.contexts) is None:
        return None
    told = np.array(normal.positions, dtype=object)
    of_part = index_parts(normal.parts, len(normal.images))
    is_above = normal.as_they_come.pred_score > detector.calibration.image_threshold
    of_context = [told == name for name in contexts.names]
    return replace(
        contexts,
        held_out=tuple(int(each.sum()) for each in of_context),
        above=tuple(int(is_above[each].sum()) for each in of_context),
        parts=tuple(len({*of_part[each].tolist()}) for each in of_context),
    )


def _calibrate(scores: Scores, parts: Sequence[str], product: ProductSettings) -> Calibration:
    count = len(set(parts)) or None
    return calibrate(scores.pred_score, product.target_fpr, scores.map_maxima, count)


def check_device(device: str) -> None:
    """Raise a ConfigError where a device is not there, or gives no number back."""
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device must be there; got {device!r}: {reason}") from None


def _architecture(
    product: ProductSettings, base: Detector | None, foundation: FoundationNetwork | None
) -> dict[str, Option]:
    """Arguments of the network's builder: a foundation has its own sizes."""
    spec = model_spec(product.model)
    sizes = spec.foundation.sizes if spec.foundation else {}
    architecture = spec.architecture(
        product.width, product.options, base.architecture if base else None
    )
    backbone = backbone_of(product.features) or (base.architecture.get("backbone") if base else "")
    if spec.pretrained and backbone:
        architecture["backbone"] = backbone
    for ours, theirs in sizes.items():
        if base is not None and ours in base.architecture:
            architecture[ours] = base.architecture[ours]
        elif foundation is not None:
            architecture[ours] = foundation.sizes[theirs]
    return architecture


def _network(
    product: ProductSettings,
    architecture: dict[str, Option],
    base: Detector | None,
    foundation: FoundationNetwork | None,
) -> AnomalyNetwork:
    if base is not None:
        its = None if base.witness is None else base.witness.detector.model
        started = (base.model, base.network_size_px, base.architecture, its)
        wished = (product.model, product.image_size, architecture, product.witness)
        if started != wished or (base.windows is None) == product.windows:
            raise ConfigError(
                "fine-tuning needs the model, image size and width of the version it starts from, "
                f"{_describe_network(*started)}{_in_windows(base.windows is not None)}; the "
                f"settings say {_describe_network(*wished)}{_in_windows(product.windows)}: train "
                "from scratch"
            )
        return deepcopy(network_of(base))
    spec = model_spec(product.model)
    with torch.random.fork_rng(devices=[]):  # initial weights follow the seed, and nothing else
        torch.manual_seed(product.seed)
        network = spec.build_network(product.image_size, **architecture)
    spec.load_pretrained(network, product.features)
    if foundation is not None and spec.foundation is not None:
        network.get_submodule(spec.foundation.part).load_state_dict(foundation.state_dict())
    return network


def _describe_network(
    model: str, size: ImageSize, architecture: Mapping[str, Option], witness: str | None
) -> str:
    sizes = ", ".join(f"{name}={value}" for name, value in architecture.items())
    beside = f" with {witness} as its witness" if witness else ""
    return f"{model} at {size.setting} px ({sizes}){beside}"


def _in_windows(has_windows: bool) -> str:
    return " in windows" if has_windows else ""


def textures_of(training: TrainingSettings, size: ImageSize) -> Textures:
    """Return the pictures that a training draws textures from.

    Args:
        training: its ``textures`` are a folder of this machine, or None for the packaged ones.
        size: of the pictures that are drawn on.

    Raises:
        NotEnoughImagesError: the folder holds no picture.
    """
    given = training.textures
    folder = PACKAGED_TEXTURES if given is None else Path(given)
    return load_textures(round(size.mean_side_px), folder)
