"""One network of a product: from normal images to a detector that it decides in alone."""

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.calibration import MIN_CALIBRATION_IMAGES, Calibration, calibrate
from reconad_plugin.detector.contexts import ContextMaps
from reconad_plugin.detector.detector import Detector, Scores
from reconad_plugin.detector.torch_engine import TorchEngine
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.light import fit_light
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.region import Mask, Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.metrics.intervals import index_parts
from reconad_plugin.networks.base import AnomalyNetwork, FoundationNetwork
from reconad_plugin.networks.registry import Phase, model_spec
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.simulation.textures import PACKAGED_TEXTURES, Textures, load_textures
from reconad_plugin.training.held_out_scores import (
    HeldOutScores,
    MappedImages,
    cross_fit,
    order_of_shares,
    score_held_out,
    take_normal_map,
)
from reconad_plugin.training.held_out_windows import join_windows
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.initial_network import initial_architecture, initial_network
from reconad_plugin.training.loop import DEFAULTS, RunOptions
from reconad_plugin.training.phases import train_phases
from reconad_plugin.training.recipe import Recipe, Simulation
from reconad_plugin.training.report import TrainingReport
from reconad_plugin.training.views import cut_views, shrink

FINETUNE_LEARNING_RATE_SHARE: Final = 0.5  # of the model's, when it starts from a version


@dataclass(frozen=True)
class Fitted:
    """What came of one network's training."""

    detector: Detector
    report: TrainingReport
    held_out: HeldOutScores  # that its thresholds rest on


@dataclass(frozen=True)
class NetworkFit:
    """What one network of a product is trained by, and how; see ``fit_detector``."""

    product: ProductSettings
    training: TrainingSettings
    base: Detector | None
    foundation: FoundationNetwork | None
    options: RunOptions
    region: Region | None

    def run(self, images: NormalImages) -> Fitted:
        """Train a network and calibrate it alone.

        Raises:
            NotEnoughImagesError: fewer images than the product asks for, or too few to
                calibrate on.
            ConfigError: the device is not there, the base is another model, or there is a region
                and pictures are seen in windows.
            TrainingDivergedError: the loss is not a number.
            CodebookCollapsedError: a codebook is hardly used.
        """
        self._check(images)
        spec, product = model_spec(self.product.model), self.product
        if spec.warning:
            warnings.warn(spec.warning, stacklevel=2)
        architecture = initial_architecture(product, self.base, self.foundation)
        network = initial_network(product, architecture, self.base, self.foundation)
        simulation = self._simulation(images)
        report = self._train(network, images, simulation, self.options)
        network = network.to("cpu")
        copies, copies_s = self._cross_fit(network, images, simulation)
        report = replace(report, elapsed_s=report.elapsed_s + copies_s)
        light = fit_light(self._shrunk(images.train))
        held_out = [(network, images.calibration), *copies]
        normal = self._score_held_out(held_out, images, light)
        windows = None
        if product.windows:
            normal, windows = join_windows(
                held_out, normal, product.image_size, self._window_px, light, product.target_fpr
            )
        detector = Detector(
            model=product.model,
            architecture=architecture,
            image_size_px=ImageSize.of(images.train.shape) if windows else product.image_size,
            engine=TorchEngine(network, self._window_px),
            light=light,
            calibration=calibrate_on(normal.as_they_come, normal.parts, product),
            matched_calibration=calibrate_on(normal.matched, normal.parts, product),
            limits=product.limits,
            normal_map=normal.normal_map,
            windows=windows,
            region=self.region,
        )
        if normal.contexts is not None:
            contexts = replace(normal.contexts, pattern=product.position_pattern)
            detector = replace(detector, contexts=contexts)
        detector = replace(detector, contexts=count_in_contexts(detector, normal))
        return Fitted(detector, report, normal)

    def _check(self, images: NormalImages) -> None:
        """Raise where these images, this region or this device do not do."""
        count = len(images.train) + len(images.calibration) + len(images.judge)
        if count < self.product.min_training_images:
            raise NotEnoughImagesError(
                f"training needs at least {self.product.min_training_images} accepted normal "
                f"images; got {count}: bring more, or lower min_training_images of the product; "
                "under 10 images no model that is trained on them alone fits"
            )
        check_device(self.options.device)
        if len(images.calibration) < MIN_CALIBRATION_IMAGES:
            raise NotEnoughImagesError(
                f"a threshold needs at least {MIN_CALIBRATION_IMAGES} held-out normal images; got "
                f"{len(images.calibration)}: wait for more"
            )
        if self.region is not None and self.product.windows:
            raise ConfigError(
                "a region is of pictures that are seen as a whole; got one and windows = true: "
                "leave one of them out"
            )

    @property
    def _inside(self) -> Mask | None:
        return None if self.region is None else self.region.union

    @property
    def _window_px(self) -> int:
        return model_spec(self.product.model).score_window_px(self.product.image_size)

    def _shrunk(self, images: Tensor) -> Tensor:
        """Return (N, 3, H, W) pictures as the network sees them whole."""
        return shrink(images, self.product.image_size) if self.product.windows else images

    def _simulation(self, images: NormalImages) -> Simulation:
        """Load what anomalies are simulated of."""
        textures = textures_of(self.training, self.product.image_size)
        textures = replace(textures, defects=images.defects).to(self.options.device)
        looked_at = None if self._inside is None else torch.from_numpy(self._inside)
        return Simulation(PRESETS[self.training.preset], textures, looked_at)

    def _train(
        self,
        network: AnomalyNetwork,
        images: NormalImages,
        simulation: Simulation,
        options: RunOptions,
    ) -> TrainingReport:
        """Train a network in place; whatever it stands on already is not trained again."""
        product, spec = self.product, model_spec(self.product.model)

        def begin(phase: Phase) -> Recipe:
            recipe: Recipe = spec.build_recipe(network, simulation, product.options, phase)
            if self.base is not None:
                recipe.learning_rate *= FINETUNE_LEARNING_RATE_SHARE
            return recipe

        is_founded = self.base is not None or self.foundation is not None
        phases = [phase for phase in spec.phases if not (phase.is_foundation and is_founded)]
        recipes = {phase: partial(begin, phase) for phase in phases}
        if product.windows:
            images = cut_views(images, product.image_size, product.seed)
        return train_phases(
            network, recipes, images, self.training, product.seed, self._window_px, options
        )

    def _cross_fit(
        self, network: AnomalyNetwork, images: NormalImages, simulation: Simulation
    ) -> tuple[list[MappedImages], float]:
        """Train copies of a network on all but a share of the images each, where they are few and
        the model takes seconds; none for a fine-tuning, which repeats images. Returns them with
        their shares, and the seconds that they took."""
        if self.base is not None or not model_spec(self.product.model).is_cross_fitted:
            return [], 0.0
        took_s = list[float]()
        quiet = replace(self.options, checkpoint_folder=None, on_progress=DEFAULTS.on_progress)

        def fit_copy(train: Tensor) -> AnomalyNetwork:
            copy = deepcopy(network)
            share = NormalImages(train, train[:0], train[:0])
            took_s.append(self._train(copy, share, simulation, quiet).elapsed_s)
            return copy.to("cpu")

        return cross_fit(images.train, fit_copy, images.train_parts), sum(took_s)

    def _score_held_out(
        self, held_out: Sequence[MappedImages], images: NormalImages, light: LightReference
    ) -> HeldOutScores:
        """Score what calibrates by the network, then each share by the copy that did not see it;
        what each pixel shows on normal images is taken out where the model has a normal map."""
        (network, _), *copies = held_out
        has_contexts = self.product.contexts and not self.product.windows
        learnt_from, positions = images.positions if has_contexts else ((), ())
        parts = images.calibration_parts
        if copies:
            parts += order_of_shares(images.train_parts, images.train_parts)
            positions += order_of_shares(learnt_from, images.train_parts)
        seen = [(each, self._shrunk(of)) for each, of in held_out]
        normal = score_held_out(seen, self._window_px, light, self._inside)
        normal = replace(normal, parts=parts, positions=positions)
        if not model_spec(self.product.model).has_normal_map:
            return normal
        if copies:  # all that was learnt is held out
            return take_normal_map(normal, [], self._window_px, self._inside)
        learnt = [(network, self._shrunk(images.train))]
        return take_normal_map(normal, learnt, self._window_px, self._inside, learnt_from)


def count_in_contexts(detector: Detector, normal: HeldOutScores) -> ContextMaps | None:
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


def calibrate_on(scores: Scores, parts: Sequence[str], product: ProductSettings) -> Calibration:
    """Set the thresholds of a product on what its held-out images score."""
    count = len(set(parts)) or None
    return calibrate(scores.pred_score, product.target_fpr, scores.map_maxima, count)


def check_device(device: str) -> None:
    """Raise a ConfigError where a device is not there, or gives no number back."""
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device must be there; got {device!r}: {reason}") from None


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
