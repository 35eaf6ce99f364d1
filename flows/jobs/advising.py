"""Advice on a folder or on the images of a product, and ``model = "auto"``, which takes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from flows.jobs.progress import reading_bar
from mlflow_models.version_tags import advice_tags
from reconad_plugin.advice.facts import (
    Facts,
    Look,
    PictureFacts,
    defect_share,
    look_at,
    smallest_share,
    spread_evenly,
    summarise,
)
from reconad_plugin.advice.machine import this_machine
from reconad_plugin.advice.rules import Advice, advise, lines_of
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import InvalidImageError, NotEnoughImagesError
from reconad_plugin.images.folder import ImageFolder
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.names import pass_over, read_file
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.manifest import camera_position
from reconad_plugin.networks.registry import RANDOM_FEATURES, Option, model_spec
from reconad_plugin.training.pretrained_features import find_weights


@dataclass(frozen=True)
class PictureFile:
    """A normal image that can be looked at."""

    name: str  # as messages have it
    position: str  # of the camera; empty where nobody knows
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Settled:
    """Settings with a model, and why it is that one."""

    settings: ProductSettings
    tags: Mapping[str, str] = field(default_factory=dict)  # of the version
    advice: Advice | None = None  # None where nothing was left open


def facts_of(
    pictures: Sequence[PictureFile], settings: ProductSettings, device: str = "cpu"
) -> Facts:
    """Find out what advice rests on; the pictures that cannot be read are passed over."""
    return Facts(
        pictures=_look(pictures, settings.limits),
        machine=this_machine(device),
        has_features=settings.features != RANDOM_FEATURES
        and find_weights(settings.features) is not None,
        budget_s=settings.train.budget_s,
    )


def facts_of_folder(
    folder: ImageFolder, settings: ProductSettings, smallest_defect_px: float | None, device: str
) -> Facts:
    """Find out what advice on a folder rests on; where nobody says what the smallest defect is, its
    masks do."""
    facts = facts_of(files_of(folder, settings), settings, device)
    defects = [file for file in folder.test if not file.is_normal]
    if smallest_defect_px is None:
        share = smallest_share(_shares([path for file in defects for path in file.mask_paths]))
        smallest_defect_px = None if share is None else share * facts.pictures.mean_side_px
    return replace(facts, smallest_defect_px=smallest_defect_px, labelled_defects=len(defects))


def files_of(folder: ImageFolder, settings: ProductSettings) -> list[PictureFile]:
    """List the normal images of a folder."""
    pattern = settings.position_pattern
    return [
        PictureFile(str(path), camera_position(path.name, pattern), partial(read_file, path))
        for path in folder.train
    ]


def settle_model(
    settings: ProductSettings, pictures: Sequence[PictureFile], device: str = "cpu"
) -> Settled:
    """Take the model that is advised for normal images, and the image size that goes with it unless
    one was asked for. What must be installed first is not taken.

    Raises:
        NotEnoughImagesError: no model fits, or no picture can be read.
    """
    advice = advise(facts_of(pictures, settings, device), is_ready_only=True)
    if advice.model is None or advice.image_size_px is None:
        raise NotEnoughImagesError(advice.model_reason)
    size_px = settings.asked_size_px or advice.image_size_px
    width = model_spec(advice.model).default_width
    settled = settings.settled(advice.model, width, size_px)
    return Settled(settled, advice_tags(explain(advice, size_px)), advice)


def settle_as(settings: ProductSettings, detector: Detector) -> ProductSettings:
    """Return settings with the model, size, width and options of a version."""
    width, options = choices_of(detector)
    return settings.settled(detector.model, width, detector.network_size_px, options)


def choices_of(base: Detector) -> tuple[str | None, dict[str, Option]]:
    """Return the width and options that a detector was built with."""
    spec = model_spec(base.model)
    sizes = base.architecture.items()
    shared = spec.foundation.sizes if spec.foundation else {}
    own = {  # besides those of its foundation, which may be of any size
        name: {pair for pair in of.items() if pair[0] not in shared}
        for name, of in spec.widths.items()
    }
    width = next((name for name, of in own.items() if of <= sizes), None)
    options = {name: value for name, value in sizes if name in spec.network_options}
    return width, options


def explain(advice: Advice, size_px: int | ImageSize) -> str:
    """Write advice that was taken in one line."""
    said = "; ".join(f"{name} {value}: {why}" for name, value, why in lines_of(advice))
    asked = "" if size_px == advice.image_size_px else f"; {size_px} px were asked for"
    return f"{said}{asked}"


def _look(pictures: Sequence[PictureFile], limits: ImageLimits) -> PictureFacts:
    """Look at up to 200 of them, each read once.

    Raises:
        NotEnoughImagesError: none can be read.
    """
    looks, positions, unread = list[Look](), list[str](), 0
    chosen = [pictures[index] for index in spread_evenly(len(pictures))]
    for picture in reading_bar(chosen):
        try:
            looks.append(look_at(picture.read(), limits))
            positions.append(picture.position)
        except InvalidImageError as error:
            pass_over(picture.name, str(error))
            unread += 1
    if not looks:
        raise NotEnoughImagesError(
            f"advice needs a picture that can be read; got {unread} that cannot: the log names them"
        )
    return summarise(looks, positions, len(pictures) - unread)


def _shares(masks: Sequence[Path]) -> list[float]:
    """Measure up to 200 masks; those that cannot be read are passed over."""
    shares = []
    for index in spread_evenly(len(masks)):
        try:
            shares.append(defect_share(read_file(masks[index])))
        except InvalidImageError as error:
            pass_over(str(masks[index]), str(error))
    return shares
