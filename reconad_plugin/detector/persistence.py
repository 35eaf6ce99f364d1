"""A detector as files: weights in safetensors, all else in JSON. No pickle, so that loading a
model can never run code."""

import hashlib
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from reconad_plugin.detector.calibration import Calibration
from reconad_plugin.detector.calibration_groups import CalibrationGroups
from reconad_plugin.detector.contexts import ContextMaps, References
from reconad_plugin.detector.detector import TORCH, Detector, NetworkEngine, Scores, Witness
from reconad_plugin.detector.engine_files import WITNESS_FOLDER, with_engine
from reconad_plugin.detector.normal_map import NormalMap
from reconad_plugin.detector.self_test import SelfTest
from reconad_plugin.detector.weights_file import (
    CONTEXTS,
    NORMAL_MAP,
    REGION,
    SELF_TEST,
    WEIGHTS_FILE,
    read_others,
    write_arrays,
)
from reconad_plugin.detector.windows import Windows
from reconad_plugin.errors import ModelFormatError
from reconad_plugin.images.lens import Lens, limits_with
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.registry import Option, model_spec

FORMAT_VERSION: Final = 1
WITNESS_FORMAT_VERSION: Final = 2  # of a detector with a witness, which format 1 has no place for
LENS_FORMAT_VERSION: Final = 3  # of one with a lens, which the others have no place for either
CONTEXTS_FORMAT_VERSION: Final = 4  # of one whose contexts have thresholds of their own
SHRUNK_FORMAT_VERSION: Final = 5  # of one whose network sees less of its pictures than its witness
DETECTOR_FILE: Final = "detector.json"
_FORMATS: Final = (
    FORMAT_VERSION,
    WITNESS_FORMAT_VERSION,
    LENS_FORMAT_VERSION,
    CONTEXTS_FORMAT_VERSION,
    SHRUNK_FORMAT_VERSION,
)
_OF_LIMITS: Final = "max_pixels min_side_px"  # what it says of them; the shape is that of the lens
# what ``detector.json`` says of them
_OF_CONTEXTS: Final = "names images pattern held_out above own_thresholds parts"

Arrays = dict[str, NDArray[Any]]


class ContextsDescription(TypedDict):
    """What ``detector.json`` says of contexts; see ``ContextMaps``."""

    reach: float
    names: list[str]
    images: list[int]
    pattern: str | None
    held_out: list[int]
    above: list[int]
    own_thresholds: NotRequired[list[float]]
    parts: NotRequired[list[int]]


class Description(TypedDict):
    """What ``detector.json`` says of a detector; see ``Detector``."""

    format_version: int
    weights_sha256: NotRequired[str]
    model: str
    architecture: dict[str, Option]
    image_size_px: int | str
    shrunk_to: NotRequired[int | str]
    light: dict[str, list[float]]
    calibration: dict[str, object]
    matched_calibration: dict[str, object]
    first_calibration: NotRequired[dict[str, object]]  # of the first network alone
    limits: dict[str, Any]
    light_levels: NotRequired[dict[str, object] | None]
    self_test_score: NotRequired[float]
    windows: NotRequired[dict[str, Any]]
    contexts: NotRequired[ContextsDescription]
    lens: NotRequired[dict[str, object]]


class _Unopened:
    """Stands for the engine of a detector until ``with_engine`` has chosen one."""

    name, size_bytes = "none", 0

    def score(self, *_: object, **__: object) -> Scores:
        raise ValueError("a detector scores once its engine is open: see with_engine")


def save_detector(detector: Detector, folder: Path) -> None:
    """Write a detector into a folder, made if need be.

    Raises:
        ValueError: a graph scores in it, so that its thresholds are not those of its network.
    """
    engine = detector.engine
    if not isinstance(engine, NetworkEngine):
        raise ValueError(
            f"a detector is saved with PyTorch's network, and {engine.name} scores in this one: "
            f"load it with the engine {TORCH}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(engine.weights(), _arrays_of(detector), folder)
    description = {
        "format_version": _format_of(detector),
        "weights_sha256": _hash(folder / WEIGHTS_FILE),
        "model": detector.model,
        "architecture": detector.architecture,
        "image_size_px": detector.image_size_px.setting,
        "light": asdict(detector.light),
        "calibration": asdict(detector.calibration),
        "matched_calibration": asdict(detector.matched_calibration),
        "limits": {name: getattr(detector.limits, name) for name in _OF_LIMITS.split()},
        "light_levels": asdict(detector.light_levels) if detector.light_levels else None,
    }
    if detector.self_test is not None:
        description["self_test_score"] = detector.self_test.pred_score
    if detector.shrunk_to is not None:
        description["shrunk_to"] = detector.shrunk_to.setting
    if (windows := detector.windows) is not None:
        scales = {"whole_scale": windows.whole_scale, "window_scale": windows.window_scale}
        description["windows"] = {"size": windows.size.setting, **scales}
    if (contexts := detector.contexts) is not None:
        description["contexts"] = {
            "reach": contexts.references.reach,
            **{name: getattr(contexts, name) for name in _OF_CONTEXTS.split()},
        }
    if detector.witness is not None:
        save_detector(detector.witness.detector, folder / WITNESS_FOLDER)
        description["first_calibration"] = asdict(detector.witness.first)
    if detector.lens is not None:
        description["lens"] = asdict(detector.lens)
    (folder / DETECTOR_FILE).write_text(json.dumps(description, indent=2), encoding="utf-8")


def _format_of(detector: Detector) -> int:
    """Return the oldest format that has a place for all of a detector."""
    if detector.shrunk_to is not None:
        return SHRUNK_FORMAT_VERSION
    if detector.contexts is not None:
        return CONTEXTS_FORMAT_VERSION
    if detector.lens is not None:
        return LENS_FORMAT_VERSION
    return FORMAT_VERSION if detector.witness is None else WITNESS_FORMAT_VERSION


def _arrays_of(detector: Detector) -> dict[str, NDArray[np.generic]]:
    """Return all arrays of a detector but the weights of its network."""
    arrays: dict[str, NDArray[np.generic]] = {}
    if detector.normal_map is not None:
        arrays |= {f"{NORMAL_MAP}{name}": each for name, each in vars(detector.normal_map).items()}
    if (contexts := detector.contexts) is not None:
        arrays |= {
            f"{CONTEXTS}means": contexts.means,
            f"{CONTEXTS}deviation": contexts.deviation,
            f"{CONTEXTS}reference_means": contexts.references.means,
            f"{CONTEXTS}reference_deviation": contexts.references.deviation,
        }
    if detector.region is not None:
        arrays |= {f"{REGION}{name}": each for name, each in detector.region.masks.items()}
    if detector.self_test is not None:
        arrays[SELF_TEST] = detector.self_test.image
    return arrays


def load_detector(folder: Path, engine: str | None = None) -> Detector:
    """Read a detector back, ready to score.

    Args:
        folder: where it was saved.
        engine: ``torch``, ``auto`` or the name of an engine; None: as ``RECONAD_ENGINE`` says. See
            ``engine_files.with_engine``.

    Raises:
        ModelFormatError: a file is missing or broken, or was written by a newer reconad.
        ConfigError: there is no engine of this name.
    """
    return with_engine(_load(folder), folder, engine)


def _load(folder: Path) -> Detector:
    try:
        description = json.loads((folder / DETECTOR_FILE).read_text(encoding="utf-8"))
        arrays = read_others(folder)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelFormatError(
            f"a saved detector is {DETECTOR_FILE} and {WEIGHTS_FILE}; {folder}: {error}"
        ) from None
    version = description.get("format_version") if isinstance(description, dict) else None
    if version not in _FORMATS:
        raise ModelFormatError(
            f"this reconad reads formats {_FORMATS[0]} to {_FORMATS[-1]}; {folder} has "
            f"{version!r}: load it with the reconad that wrote it"
        )
    if description.get("weights_sha256", own := _hash(folder / WEIGHTS_FILE)) != own:
        raise ModelFormatError(
            f"{folder} does not fit together: {WEIGHTS_FILE} is not the file that {DETECTOR_FILE} "
            "was written with"
        )
    try:
        detector = _build(description, arrays)
        if version == LENS_FORMAT_VERSION or "lens" in description:
            detector = _with_lens(detector, description["lens"])
        if version != WITNESS_FORMAT_VERSION and "first_calibration" not in description:
            return detector
        first = Calibration.read(description["first_calibration"])
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise ModelFormatError(f"{folder} does not fit together: {error}") from None
    second = _load(folder / WITNESS_FOLDER)
    if second.image_size_px != detector.image_size_px:
        raise ModelFormatError(
            f"{folder} does not fit together: its models take {detector.image_size_px.setting} px "
            f"and {second.image_size_px.setting} px"
        )
    return replace(detector, witness=Witness(second, first))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build(description: Description, arrays: Arrays) -> Detector:
    """Build a detector of what its files hold, without an engine."""
    model_spec(description["model"])
    shrunk_to, seen = description.get("shrunk_to"), description.get("windows")
    windows = None if seen is None else Windows(**seen | {"size": ImageSize.parse(seen["size"])})
    normal, masks = (
        {name.removeprefix(kind): each for name, each in arrays.items() if name.startswith(kind)}
        for kind in (NORMAL_MAP, REGION)
    )
    shown = arrays.get(SELF_TEST)
    if shown is None and "self_test_score" in description:
        raise ValueError("it has the score of a self-test and not its image")
    told = description.get("contexts")
    light, levels = description["light"], description.get("light_levels")
    return Detector(
        model=description["model"],
        architecture=description["architecture"],
        image_size_px=ImageSize.parse(description["image_size_px"]),
        engine=_Unopened(),
        light=LightReference(_colours(light["mean"]), _colours(light["deviation"])),
        calibration=Calibration.read(description["calibration"]),
        matched_calibration=Calibration.read(description["matched_calibration"]),
        limits=ImageLimits(**description["limits"]),
        light_levels=None if levels is None else CalibrationGroups.read(levels),
        normal_map=NormalMap(**normal) if normal else None,
        shrunk_to=None if shrunk_to is None else ImageSize.parse(shrunk_to),
        windows=windows,
        region=Region(masks) if masks else None,
        contexts=None if told is None else _contexts(told, arrays),
        self_test=None if shown is None else SelfTest(shown, description["self_test_score"]),
    )


def _with_lens(detector: Detector, told: dict[str, object]) -> Detector:
    values: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
    lens = Lens(**values)
    return replace(detector, lens=lens, limits=limits_with(lens, detector.limits))


def _contexts(description: ContextsDescription, arrays: Arrays) -> ContextMaps:
    means, deviation, of_references, their_deviation = (
        arrays[f"{CONTEXTS}{name}"]
        for name in ("means", "deviation", "reference_means", "reference_deviation")
    )
    references = References(of_references, their_deviation, description["reach"])
    names, own = description["names"], description.get("own_thresholds", [])
    if not all(0 < each < math.inf for each in own) or (own and len(own) != len(names)):
        raise ValueError(f"each context has one threshold, a number above 0; it has {tuple(own)}")
    return ContextMaps(
        names=tuple(names),
        images=tuple(description["images"]),
        means=means,
        deviation=deviation,
        references=references,
        pattern=description["pattern"],
        held_out=tuple(description["held_out"]),
        above=tuple(description["above"]),
        own_thresholds=tuple(own),
        parts=tuple(description.get("parts", ())),
    )


def _colours(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
