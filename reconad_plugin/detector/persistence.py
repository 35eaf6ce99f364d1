"""A detector as files: weights in safetensors, all else in JSON. No pickle, so that loading a
model can never run code."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Final, NotRequired, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from reconad_plugin.detector.calibration import Calibration
from reconad_plugin.detector.calibration_groups import CalibrationGroups
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import ModelFormatError
from reconad_plugin.images.light import LightReference
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.networks.registry import MODELS

FORMAT_VERSION: Final = 1
WEIGHTS_FILE: Final = "weights.safetensors"
DETECTOR_FILE: Final = "detector.json"


class _LightFile(TypedDict):
    mean: list[float]
    deviation: list[float]


class _CalibrationFile(TypedDict):
    normal_scores: list[float]
    image_threshold: float
    target_fpr: float
    supported_fpr: float
    pixel_threshold: NotRequired[float | None]  # absent in what was saved before there was one


class _LightLevelsFile(TypedDict):
    edges: list[float]
    calibrations: list[_CalibrationFile]


class _DetectorFile(TypedDict):
    """What ``detector.json`` holds beside its format's version."""

    model: str
    architecture: dict[str, float]
    image_size_px: int
    light: _LightFile
    calibration: _CalibrationFile
    matched_calibration: _CalibrationFile
    limits: dict[str, int]
    light_levels: NotRequired[_LightLevelsFile | None]


def save_detector(detector: Detector, folder: Path) -> None:
    """Write a detector into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in detector.network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    description = {
        "format_version": FORMAT_VERSION,
        "model": detector.model,
        "architecture": detector.architecture,
        "image_size_px": detector.image_size_px,
        "light": asdict(detector.light),
        "calibration": asdict(detector.calibration),
        "matched_calibration": asdict(detector.matched_calibration),
        "limits": asdict(detector.limits),
        "light_levels": asdict(detector.light_levels) if detector.light_levels else None,
    }
    (folder / DETECTOR_FILE).write_text(json.dumps(description, indent=2), encoding="utf-8")


def load_detector(folder: Path) -> Detector:
    """Read a detector back, ready to score.

    Raises:
        ModelFormatError: a file is missing or broken, or was written by a newer reconad.
    """
    try:
        description = json.loads((folder / DETECTOR_FILE).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelFormatError(
            f"a saved detector is {DETECTOR_FILE} and {WEIGHTS_FILE}; {folder}: {error}"
        ) from None
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise ModelFormatError(
            f"this reconad reads format {FORMAT_VERSION}; {folder} has {version!r}: "
            "load it with the reconad that wrote it"
        )
    try:
        return _build(description, weights)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise ModelFormatError(f"{folder} does not fit together: {error}") from None


def _build(description: _DetectorFile, weights: dict[str, Tensor]) -> Detector:
    spec = MODELS[description["model"]]
    network = spec.build_network(description["image_size_px"], **description["architecture"])
    network.load_state_dict(weights)
    return Detector(
        model=description["model"],
        architecture=description["architecture"],
        image_size_px=description["image_size_px"],
        network=network.eval().to(memory_format=torch.channels_last),
        light=LightReference(
            _colours(description["light"]["mean"]), _colours(description["light"]["deviation"])
        ),
        calibration=_calibration(description["calibration"]),
        matched_calibration=_calibration(description["matched_calibration"]),
        limits=ImageLimits(**description["limits"]),
        light_levels=_light_levels(description.get("light_levels")),
    )


def _colours(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _calibration(description: _CalibrationFile) -> Calibration:
    calibration = Calibration(
        normal_scores=tuple(description["normal_scores"]),
        image_threshold=description["image_threshold"],
        target_fpr=description["target_fpr"],
        supported_fpr=description["supported_fpr"],
        pixel_threshold=description.get("pixel_threshold"),
    )
    if not math.isfinite(calibration.image_threshold):
        raise ValueError(f"the threshold must be a number; it is {calibration.image_threshold}")
    pixel = calibration.pixel_threshold
    if pixel is not None and not math.isfinite(pixel):
        raise ValueError(f"the pixel threshold must be a number; it is {pixel}")
    return calibration


def _light_levels(description: _LightLevelsFile | None) -> CalibrationGroups | None:
    if description is None:
        return None
    return CalibrationGroups(
        edges=tuple(description["edges"]),
        calibrations=tuple(_calibration(each) for each in description["calibrations"]),
    )
