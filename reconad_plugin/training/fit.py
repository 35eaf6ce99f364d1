"""Normal images to a detector that can decide: one network, and perhaps a witness beside it."""

import warnings
from dataclasses import replace

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import Detector, Witness
from reconad_plugin.detector.fusion import LEAST_IMAGES
from reconad_plugin.errors import ConfigError, NotEnoughImagesError
from reconad_plugin.images.lens import limits_with
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.base import FoundationNetwork
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.training.held_out_scores import are_shared_out, join_held_out
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.loop import DEFAULTS, RunOptions
from reconad_plugin.training.network_fit import (
    Fitted,
    NetworkFit,
    calibrate_on,
    count_in_contexts,
)
from reconad_plugin.training.report import TrainingReport


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
    _check_region(product, region)
    if base is not None and base.light_levels is not None:
        warnings.warn(
            "the version that it starts from has thresholds by light; from now on one holds for "
            "all light",
            stacklevel=2,
        )
    fit = NetworkFit(product, training, base, foundation, options, region)
    if (lens := images.lens) is not None:  # all is learnt from straight pictures
        seen = None if region is None else lens.straighten_region(region)
        fitted = _fit_both(replace(fit, region=seen), images.straight)
        limits = limits_with(lens, fitted.detector.limits)
        detector = replace(fitted.detector, lens=lens, region=region, limits=limits)
    else:
        fitted = _fit_both(fit, images)
        detector = fitted.detector
    return detector.with_self_test(images.calibration[0].numpy()), fitted.report


def _check_region(product: ProductSettings, region: Region | None) -> None:
    for name in (product.model, product.witness):
        if region is not None and name and model_spec(name).is_of_whole_pictures:
            raise ConfigError(f"{name} is of whole pictures; got it with a region: leave one out")


def _fit_both(fit: NetworkFit, images: NormalImages) -> Fitted:
    """Train a network, and the witness beside it if the product has one; the thresholds are those
    of both together."""
    product, region = fit.product, fit.region
    if (beside := product.of_witness) is None:
        return fit.run(images)
    _check_witness(fit, images)
    pictures, size = ImageSize.of(images.train.shape), product.image_size
    small, within = images, region
    if not product.windows and pictures != size:  # the witness sees more
        small, within = images.at(size), None if region is None else region.at(size)
        beside = beside.with_image_size(pictures)
    first = replace(fit, region=within).run(small)
    base = None if fit.base is None or fit.base.witness is None else fit.base.witness.detector
    quiet = replace(fit.options, checkpoint_folder=None, on_progress=DEFAULTS.on_progress)
    second = replace(fit, product=beside, base=base, foundation=None, options=quiet).run(images)
    witness = Witness(second.detector, first.detector.calibration)
    held_out = join_held_out(first.held_out, second.held_out, witness)
    detector = replace(
        first.detector,
        calibration=calibrate_on(held_out.as_they_come, held_out.parts, product),
        matched_calibration=calibrate_on(held_out.matched, held_out.parts, product),
        witness=witness,
        image_size_px=pictures,
        shrunk_to=None if small is images else size,
        region=region,
    )
    detector = replace(detector, contexts=count_in_contexts(detector, held_out))
    elapsed_s = first.report.elapsed_s + second.report.elapsed_s
    return Fitted(detector, replace(first.report, elapsed_s=elapsed_s), held_out)


def _check_witness(fit: NetworkFit, images: NormalImages) -> None:
    """Raise where too few normal images are held out to join two networks on."""
    held_out = len(images.calibration)
    is_cross_fitted = fit.base is None and model_spec(fit.product.model).is_cross_fitted
    if is_cross_fitted and are_shared_out(len(images.train), images.train_parts):
        held_out += len(images.train)
    if held_out < LEAST_IMAGES:
        otherwise = "leave the witness out" if fit.base is None else "train from scratch"
        raise NotEnoughImagesError(
            f"a witness needs at least {LEAST_IMAGES} held-out normal images; got {held_out}: "
            f"bring more normal images, or {otherwise}"
        )
